-- locks.lua   The keys that unique tasks hold (docs/protocol.md, docs/uniqueness.md).

-- What is held ends by the instant that stands in it. Redis drops it a minute later, so that no clock that was put back
-- meets a lock that is gone too early.
local SLACK_MS = 60000

local function is_unique(envelope)
  return bit.band(string.byte(envelope, 2) or 0, 32) ~= 0
end

-- An entry of Q:locks: until when the key is held (s start, d done, t its span), the key, the span in ms if there is one,
-- and the worker that took the task last.
local function lock_of(text)
  return string.match(text or '', '^(%l)(%x+):(%d*):(%x*)$')
end

-- What Q:unique:KEY says, unless its time is over. What somebody put there by hand is nobody's.
local function holder_of(text, now)
  if type(text) ~= 'string' then return nil end
  local mode, ends, limit = string.match(text, '^(%l)(%d*):(%d*)$', 17)
  if not mode or (ends ~= '' and tonumber(ends) <= now) then return nil end
  return {id = string.sub(text, 1, 16), mode = mode, ends = tonumber(ends), limit = tonumber(limit)}
end

local function set_until(key, value, ends, now)
  if ends then
    redis.call('SET', key, value, 'PX', digits(math.max(ends - now, 0) + SLACK_MS))
  else
    redis.call('SET', key, value)
  end
end

local function hold(locks, uniques, id, lock, ends, limit, now)
  local instants = (ends and digits(ends) or '') .. ':' .. (limit and digits(limit) or '')
  set_until(uniques .. lock.key, id .. lock.mode .. instants, ends, now)
  redis.call('HSET', locks, id, lock.mode .. lock.key .. ':' .. lock.span .. ':')
end

-- Notes for partition.lua, which a queue meets once, when the last span ends that outlives its task; `noted` stands there.
local function outlive(meta, noted, ends)
  if (tonumber(noted) or 0) < ends then redis.call('HSET', meta, 'remembers', digits(ends)) end
end

-- Frees the key of `id` if it is its own still: others may hold it meanwhile. A key of the wrong type is nobody's.
local function free(uniques, key, id)
  local held = redis.pcall('GET', uniques .. key)
  if type(held) == 'string' and string.sub(held, 1, 16) == id then redis.call('DEL', uniques .. key) end
end

-- Frees the keys of tasks that end, unless they are held for a span.
local function let_go(locks, uniques, ids)
  local entries = hmget(locks, ids)
  for i = 1, #ids do
    local mode, key = lock_of(entries[i])
    if mode and mode ~= 't' then free(uniques, key, ids[i]) end
  end
end

-- What a dead letter has to hold when it is revived, and the task that holds it meanwhile; nil where it holds none, or held
-- its key for a span from its send on. `wanted` is the lock of an edited envelope, '' for none.
local function lock_of_dead(locks, uniques, tasks, id, now, wanted)
  local mode, key, span = lock_of(redis.call('HGET', locks, id))
  local spent = mode == 't' and key
  if wanted then mode, key, span = string.match(wanted, '^(%l)(%x+):(%d*):') end
  if not mode or (mode == 't' and key == spent) then return nil end
  local lock, holder = {mode = mode, key = key, span = span}, holder_of(redis.call('GET', uniques .. key), now)
  if not holder or holder.id == id then return lock end
  if holder.mode == 't' or redis.call('HEXISTS', tasks, holder.id) == 1 then return lock, holder.id end
  return lock
end

-- Of a task that is revived, due at `start`. Answers when its span ends.
local function hold_anew(locks, uniques, id, lock, start, now)
  local span = tonumber(lock.span)
  local ends = span and (lock.mode == 't' and now or start) + span
  hold(locks, uniques, id, lock, ends, nil, now)
  return ends
end

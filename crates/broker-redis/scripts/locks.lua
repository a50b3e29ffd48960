-- locks.lua   Compares the keys that unique tasks hold with the tasks.
-- KEYS  1 Q:meta   2 Q:tasks   3 Q:dead   4 Q:locks   5 Q:unique: (what all keys begin with)   6 Q:identities
--       7 Q:active: (what all processing lists begin with)
-- ARGV  1 now, '' for Redis's clock   2 'look' | 'repair'   3 how many keys follow   4.. keys, 32 digits each, then ids of
--       tasks; at most 200 together
-- Reply for each that is wrong: its place among those, from 1 on, what is wrong, 1 if that was repaired
local meta, tasks, dead, locks, uniques = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]
local identities, actives = KEYS[6], KEYS[7]
local FIRST = 4
local now, repair, n_keys = now_of(ARGV[1]), ARGV[2] == 'repair', tonumber(ARGV[3])

local refusal = wrong_type({meta, 'hash', tasks, 'hash', dead, 'zset', locks, 'hash', identities, 'zset'})
if refusal then return refusal end
local found = {}
local function say(place, what, put_right)
  found[#found + 1], found[#found + 2], found[#found + 3] = place, what, repair and put_right and 1 or 0
  if repair and put_right then put_right() end
end

local function lives(id)
  return redis.call('HEXISTS', tasks, id) == 1 and not redis.call('ZSCORE', dead, id)
end

-- A send that would take its place must know whether somebody runs it.
local function note(id, mode, key, ends)
  local workers, worker = redis.call('ZRANGE', identities, 0, -1), ''
  for i = 1, #workers do
    if redis.call('HEXISTS', actives .. workers[i], id) == 1 then worker = workers[i] end
  end
  local span = ends and digits(ends - now) or ''
  redis.call('HSET', locks, id, mode .. key .. ':' .. span .. ':' .. worker)
  remember(meta, redis.call('HGET', meta, 'used') or '', 'u')
end

local function check_key(place, digits_of_key)
  local key = uniques .. digits_of_key
  local held = redis.pcall('GET', key)
  if not held then return end
  if type(held) ~= 'string' then return say(place, 'wrong type') end
  local function drop() redis.call('DEL', key) end
  local holder = holder_of(held, 0)
  if not holder or (holder.mode == 't' and not holder.ends) then return say(place, 'unreadable', drop) end
  if redis.call('PTTL', key) == -1 and holder.ends then
    say(place, 'lasting', function() set_until(key, held, holder.ends, now) end)
  end
  -- A span goes on whatever becomes of the task, and what has ended is nobody's.
  if holder.mode == 't' or (holder.ends and holder.ends <= now) then return end
  if not lives(holder.id) then return say(place, 'stray', drop) end
  local _, its_key = lock_of(redis.call('HGET', locks, holder.id))
  if its_key == digits_of_key then return end
  if its_key or not is_unique(redis.call('HGET', tasks, holder.id)) then return say(place, 'stray', drop) end
  say(place, 'unnoted', function() note(holder.id, holder.mode, digits_of_key, holder.ends) end)
end

local function check_task(place, id)
  local text = redis.call('HGET', locks, id)
  if not text or not lives(id) then return end
  local mode, key, span = lock_of(text)
  if not mode then return say(place, 'unreadable', function() redis.call('HDEL', locks, id) end) end
  -- Of the others the time may be over, or the start.
  if mode ~= 'd' or span ~= '' then return end
  local held = redis.pcall('GET', uniques .. key)
  local holder = holder_of(held, now)
  if holder and holder.id == id then return end
  if type(held) == 'table' or (holder and (holder.mode == 't' or lives(holder.id))) then return say(place, 'taken') end
  say(place, 'unheld', function() set_until(uniques .. key, id .. mode .. ':', nil, now) end)
end

for i = FIRST, #ARGV do
  local check = i < FIRST + n_keys and check_key or check_task
  check(i - FIRST + 1, ARGV[i])
end
return found

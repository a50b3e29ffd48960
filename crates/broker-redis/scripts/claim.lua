-- claim.lua   scheduled -> ready, ready -> active        (docs/architecture.md#lifecycle)
-- KEYS  1 Q:meta   2 Q:tasks   3 Q:active:W   4 Q:scheduled   5 Q:ghosts   6 Q:facts   7 Q:dead   8 Q:reasons
--       9 Q:bell   10 Q:locks   11 Q:unique: (what all locks begin with)   12-21 Q:ready:0 to 9
-- ARGV  1 now, '' for Redis's clock   2 field of the lease in Q:meta   3 max, 1 to 1000
--       4 division that the worker goes by   5 number of this partition, '' where the queue has no others
-- Reply 'no_lease' | {'moved', division of the queue} | {now, fence, held, ms until the next is due or -1, the ids, 16 bytes each, as one string, envelopes,
--       facts if any task has some}
local meta, tasks, active, scheduled, ghosts = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]
local facts, dead, reasons, bell, locks, uniques = KEYS[6], KEYS[7], KEYS[8], KEYS[9], KEYS[10], KEYS[11]
local READY = 12
local PROMOTED_MAX, SKIPPED_MAX = 1000, 1000
-- What is read beyond the first envelope: the rest waits for the next claim. A queue that never had a large one cannot
-- get there, and pays for no look at sizes.
local PROMOTED_BYTES_MAX, REPLY_BYTES_MAX = 4 * 1024 * 1024, 8 * 1024 * 1024

local now, max = now_of(ARGV[1]), tonumber(ARGV[3])
local settings = redis.call('HMGET', meta, ARGV[2], 'used', 'fence', 'partitions')
if (settings[4] or '') ~= ARGV[4] then return {'moved', settings[4] or ''} end
local lease, used, fence = lease_of(settings[1]), settings[2] or '', tonumber(settings[3]) or 0
if not lease or lease <= now then return 'no_lease' end
local held = redis.call('HLEN', active)
if has(used, 'g') or has(used, 'f') or has(used, 'u') then
  local refusal = wrong_type({ghosts, 'hash', facts, 'hash', locks, 'hash'})
  if refusal then return refusal end
end

local large, next_due = has(used, 'l'), nil
if has(used, 's') then
  next_due = earliest(scheduled)
  if next_due and next_due <= now then
    local due = redis.call('ZRANGEBYSCORE', scheduled, '-inf', digits(now), 'LIMIT', 0, PROMOTED_MAX)
    if large then
      local fit = math.max(that_fit(tasks, due, PROMOTED_BYTES_MAX), 1)
      for i = #due, fit + 1, -1 do due[i] = nil end
    end
    local levels = {}
    for first = 1, #due, CHUNK do
      local last = math.min(first + CHUNK - 1, #due)
      local envelopes = redis.call('HMGET', tasks, unpack(due, first, last))
      for i = first, last do
        local envelope = envelopes[i - first + 1]
        if envelope then add_to_level(levels, level_of(envelope), due[i]) end
      end
    end
    local refusal = wrong_ready(levels, READY)
    if refusal then return refusal end
    used = remember(meta, used, push('RPUSH', levels, READY))
    write('ZREM', scheduled, due)
    next_due = earliest(scheduled)
  end
end

local n, skipped, bytes, more = 0, 0, 0, false
local ids, envelopes = {}, {}
local some_ghosts = has(used, 'g') and redis.call('EXISTS', ghosts) == 1

-- Entries in `ready` that stand for nothing: their task was cancelled there. The count belongs to the level.
local function ghosts_among(popped, level)
  local fields, left = {}, {}
  for i = 1, #popped do fields[i] = popped[i] .. level end
  local counts = redis.call('HMGET', ghosts, unpack(fields))
  for i = 1, #popped do left[popped[i]] = ghosts_of(counts[i]) end
  return left
end

-- What somebody pushed by hand: kept with its bytes and a reason. False if that cannot be written.
local function quarantine(rubbish)
  if wrong_type({dead, 'zset', reasons, 'hash'}) then return false end
  local id = string.gsub(string.sub(redis.sha1hex(rubbish), 1, 32), '..', function(pair)
    return string.char(tonumber(pair, 16))
  end)
  -- Where its id says that it is.
  if ARGV[5] ~= '' then id = string.sub(id, 1, 12) .. struct.pack('>I4', tonumber(ARGV[5])) end
  local record = cmsgpack.pack({kind = 'malformed', message = 'an entry of ' .. #rubbish .. ' bytes in a ready list is no task id'})
  -- The same rubbish twice is one letter.
  local known = redis.call('ZSCORE', dead, id)
  redis.call('HSET', tasks, id, rubbish)
  redis.call('ZADD', dead, digits(now), id)
  redis.call('HSET', reasons, id, record)
  if not known then count_dead_bytes(meta, #rubbish + #record) end
  return true
end

-- Whether all that was popped are tasks, as it is but for cancelled ones and rubbish.
local function are_tasks(popped, found)
  for i = 1, #popped do
    if not found[i] or #popped[i] ~= 16 then return false end
  end
  return true
end

local function sort_out(popped, found, level)
  local left = some_ghosts and ghosts_among(popped, level)
  for i = 1, #popped do
    local id, envelope = popped[i], found[i]
    if left and 0 < (left[id] or 0) then
      left[id] = left[id] - 1
      skipped = skipped + 1
      if left[id] == 0 then
        redis.call('HDEL', ghosts, id .. level)
      else
        redis.call('HSET', ghosts, id .. level, digits(left[id]))
      end
    elseif envelope and #id == 16 then
      n = n + 1
      ids[n], envelopes[n] = id, envelope
    else
      skipped = skipped + 1
      if #id ~= 16 and not quarantine(id) then
        redis.call('RPUSH', KEYS[READY + level], id)
        skipped = SKIPPED_MAX
      end
    end
  end
end

for level = 9, 0, -1 do
  if has(used, level) then
    local ready = KEYS[READY + level]
    while n < max and not more do
      local asked = math.min(max - n, CHUNK)
      local ahead = large and redis.pcall('LRANGE', ready, 0, asked - 1)
      if ahead and not ahead.err and 0 < #ahead then
        local fit, size = that_fit(tasks, ahead, REPLY_BYTES_MAX - bytes)
        bytes = bytes + size
        if fit < #ahead then asked, more = fit, true end
        if asked == 0 and 0 < n then break end
        asked = math.max(asked, 1)
      end
      local popped = redis.pcall('LPOP', ready, asked)
      if not popped then break end
      -- A list of the wrong type stops only what is behind it; the next claim says so.
      if popped.err then
        if n == 0 and skipped == 0 then return popped end
        break
      end
      local found = redis.pcall('HMGET', tasks, unpack(popped))
      if found.err then
        for i = #popped, 1, -1 do redis.call('LPUSH', ready, popped[i]) end
        return found
      end
      if n == 0 and not some_ghosts and are_tasks(popped, found) then
        ids, envelopes, n = popped, found, #popped
      else
        sort_out(popped, found, level)
      end
      more = more or SKIPPED_MAX <= skipped
      if #popped < asked then break end
    end
  end
end

if 0 < n then
  fence = last_number(fence, now) + 1
  redis.call('HSET', meta, 'fence', digits(fence))
  local mark, fields = digits(fence) .. ':' .. digits(now), {}
  for i = 1, n do
    fields[2 * i - 1], fields[2 * i] = ids[i], mark
  end
  write('HSET', active, fields)
  held = held + n
end
if max <= n or more then ring(bell) end

-- Frees the keys that are held until the start, and notes who took the others.
local function begin(unique)
  local entries, noted = hmget(locks, unique), {}
  for i = 1, #unique do
    local mode, key, span = lock_of(entries[i])
    if mode == 's' then
      free(uniques, key, unique[i])
    elseif mode then
      noted[#noted + 1], noted[#noted + 2] = unique[i], mode .. key .. ':' .. span .. ':' .. string.sub(active, -32)
    end
  end
  write('HSET', locks, noted)
end

if 0 < n and has(used, 'u') then
  local unique = {}
  for i = 1, n do
    if is_unique(envelopes[i]) then unique[#unique + 1] = ids[i] end
  end
  begin(unique)
end

local reply = {now, fence, held, next_due and math.max(next_due - now, 0) or -1, table.concat(ids), envelopes}
if 0 < n and has(used, 'f') and redis.call('EXISTS', facts) == 1 then reply[7] = hmget(facts, ids) end
return reply

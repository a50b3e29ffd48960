-- revive.lua   dead -> ready                              (docs/architecture.md#lifecycle)
-- KEYS  1 Q:meta   2 Q:tasks   3 Q:dead   4 Q:reasons   5 Q:facts   6 Q:bell   7 Q:locks
--       8 Q:unique: (what all locks begin with)   9-18 Q:ready:0 to 9   19 Q:callbacks
-- ARGV  1 now, '' for Redis's clock   2.. ids, at most 1000
-- Reply of each id 1 if it was dead, 0 if it was not, or the id of the task that holds its key: then it is dead still; of the
--       first ones alone where the envelopes are large
local meta, tasks, dead, reasons, facts, bell = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5], KEYS[6]
local locks, uniques, callbacks = KEYS[7], KEYS[8], KEYS[19]
local READY = 9
local BYTES_MAX = 8 * 1024 * 1024

local asked = {}
for i = 2, #ARGV do asked[i - 1] = ARGV[i] end
for i = #asked, math.max(that_fit(tasks, asked, BYTES_MAX), 1) + 1, -1 do asked[i] = nil end
local envelopes = hmget(tasks, asked)

local answers, revived, fields, levels, seen, letters, bytes = {}, {}, {}, {}, {}, '', 0
local now, held = nil, {}
for i = 1, #asked do
  local id, envelope = asked[i], envelopes[i]
  if envelope and not seen[id] and redis.call('ZSCORE', dead, id) then
    local lock, holder
    if is_unique(envelope) then
      now = now or now_of(ARGV[1])
      lock, holder = lock_of_dead(locks, uniques, tasks, id, now)
      if lock then holder = holder or held[lock.key] end
    end
    seen[id] = true
    if holder then
      answers[i] = holder
    else
      answers[i] = 1
      if lock then held[lock.key], held[#held + 1] = id, {id = id, lock = lock} end
      revived[#revived + 1] = id
      fields[#fields + 1], fields[#fields + 2] = id, with_attempts(envelope, 0)
      bytes = bytes + size_of(tasks, reasons, id)
      add_to_level(levels, level_of(envelope), id)
      -- What was pushed by hand may be of any size.
      if LARGE_BYTES < #envelope then letters = 'l' end
    end
  else
    answers[i] = 0
  end
end
if #revived == 0 then return answers end
local refusal = wrong_ready(levels, READY)
  or wrong_type({reasons, 'hash', facts, 'hash', meta, 'hash', locks, 'hash', callbacks, 'zset'})
if refusal then return refusal end

write('ZREM', dead, revived)
write('ZREM', callbacks, revived)
write('HDEL', reasons, revived)
write('HDEL', facts, revived)
write('HSET', tasks, fields)
for i = 1, #held do hold_anew(locks, uniques, held[i].id, held[i].lock, now, now) end
count_dead_bytes(meta, -bytes)
letters = letters .. push('RPUSH', levels, READY)
remember(meta, redis.call('HGET', meta, 'used') or '', letters)
ring(bell)
return answers

-- revive.lua   dead -> ready                              (docs/architecture.md#lifecycle)
-- KEYS  1 Q:meta   2 Q:tasks   3 Q:dead   4 Q:reasons   5 Q:facts   6 Q:bell   7-16 Q:ready:0 to 9
-- ARGV  1.. ids, at most 1000
-- Reply of each id 1 if it was dead and 0 if it was not; of the first ones alone where the envelopes are large
local meta, tasks, dead, reasons, facts, bell = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5], KEYS[6]
local READY = 7
local BYTES_MAX = 8 * 1024 * 1024

local asked = {}
for i = 1, #ARGV do asked[i] = ARGV[i] end
for i = #asked, math.max(that_fit(tasks, asked, BYTES_MAX), 1) + 1, -1 do asked[i] = nil end
local envelopes = hmget(tasks, asked)

local answers, revived, fields, levels, seen, letters, bytes = {}, {}, {}, {}, {}, '', 0
for i = 1, #asked do
  local id, envelope = asked[i], envelopes[i]
  if envelope and not seen[id] and redis.call('ZSCORE', dead, id) then
    answers[i], seen[id] = 1, true
    revived[#revived + 1] = id
    fields[#fields + 1], fields[#fields + 2] = id, with_attempts(envelope, 0)
    bytes = bytes + size_of(tasks, reasons, id)
    add_to_level(levels, level_of(envelope), id)
    -- What was pushed by hand may be of any size.
    if LARGE_BYTES < #envelope then letters = 'l' end
  else
    answers[i] = 0
  end
end
if #revived == 0 then return answers end
local refusal = wrong_ready(levels, READY) or wrong_type({reasons, 'hash', facts, 'hash', meta, 'hash'})
if refusal then return refusal end

write('ZREM', dead, revived)
write('HDEL', reasons, revived)
write('HDEL', facts, revived)
write('HSET', tasks, fields)
count_dead_bytes(meta, -bytes)
letters = letters .. push('RPUSH', levels, READY)
remember(meta, redis.call('HGET', meta, 'used') or '', letters)
ring(bell)
return answers

-- purge.lua   dead -> gone                                (docs/architecture.md#lifecycle)
-- KEYS  1 Q:meta   2 Q:tasks   3 Q:dead   4 Q:reasons   5 Q:facts   6 Q:locks   7 Q:callbacks
-- ARGV  1.. ids, at most 1000
-- Reply of each id 1 if it was dead and 0 if it was not
local meta, tasks, dead, reasons, facts, locks = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5], KEYS[6]
local callbacks = KEYS[7]

local answers, purged, seen = {}, {}, {}
for i = 1, #ARGV do
  local id = ARGV[i]
  answers[i] = 0
  if not seen[id] and redis.call('ZSCORE', dead, id) then
    answers[i], seen[id] = 1, true
    purged[#purged + 1] = id
  end
end
local refusal = wrong_type({
  meta, 'hash', tasks, 'hash', reasons, 'hash', facts, 'hash', locks, 'hash', callbacks, 'zset',
})
if refusal then return refusal end

local bytes = 0
for i = 1, #purged do bytes = bytes + size_of(tasks, reasons, purged[i]) end
drop_dead(meta, tasks, dead, reasons, facts, locks, purged, bytes)
write('ZREM', callbacks, purged)
return answers

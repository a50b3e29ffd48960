-- dead_letter.lua   Shows one dead letter.
-- KEYS  1 Q:dead   2 Q:tasks   3 Q:reasons
-- ARGV  1 id
-- Reply {id and time of death, failure record, envelope}, each list empty if there is none
local dead, tasks, reasons = KEYS[1], KEYS[2], KEYS[3]
local id = ARGV[1]

local died = redis.call('ZSCORE', dead, id)
if not died then return {{}, {}, {}} end
return {{id, died}, {redis.call('HGET', reasons, id)}, {redis.call('HGET', tasks, id)}}

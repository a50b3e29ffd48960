-- dead_letters.lua   Shows a part of the dead letters, oldest first.
-- KEYS  1 Q:dead   2 Q:tasks   3 Q:reasons
-- ARGV  1 offset   2 limit, at most 1000
-- Reply {ids and times of death, failure records, envelopes}
local dead, tasks, reasons = KEYS[1], KEYS[2], KEYS[3]
local offset, limit = tonumber(ARGV[1]), tonumber(ARGV[2])

local deaths = redis.call('ZRANGE', dead, offset, offset + limit - 1, 'WITHSCORES')
local ids = {}
for i = 1, #deaths, 2 do ids[#ids + 1] = deaths[i] end
return {deaths, hmget(reasons, ids), hmget(tasks, ids)}

-- dead_letters.lua   Shows a part of the dead letters, oldest first.
-- KEYS  1 Q:dead   2 Q:tasks   3 Q:reasons
-- ARGV  1 offset   2 limit, at most 1000
-- Reply, shorter than the limit where the envelopes are large, {ids and times of death, failure records, envelopes}
local dead, tasks, reasons = KEYS[1], KEYS[2], KEYS[3]
local BYTES_MAX = 8 * 1024 * 1024
local offset, limit = tonumber(ARGV[1]), tonumber(ARGV[2])

local deaths = redis.call('ZRANGE', dead, offset, offset + limit - 1, 'WITHSCORES')
local ids = {}
for i = 1, #deaths, 2 do ids[#ids + 1] = deaths[i] end
for i = #ids, math.max(that_fit(tasks, ids, BYTES_MAX), 1) + 1, -1 do
  ids[i], deaths[2 * i - 1], deaths[2 * i] = nil, nil, nil
end
return {deaths, hmget(reasons, ids), hmget(tasks, ids)}

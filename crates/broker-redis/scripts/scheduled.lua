-- scheduled.lua   Shows a part of the scheduled tasks, earliest first.
-- KEYS  1 Q:scheduled   2 Q:tasks
-- ARGV  1 and 2 the first and the last rank, at most 1000 ranks
-- Reply, shorter where the envelopes are large, {ids and when they are due, envelopes}
local scheduled, tasks = KEYS[1], KEYS[2]
local BYTES_MAX = 8 * 1024 * 1024

local dues = redis.call('ZRANGE', scheduled, ARGV[1], ARGV[2], 'WITHSCORES')
local ids = {}
for i = 1, #dues, 2 do ids[#ids + 1] = dues[i] end
for i = #ids, math.max(that_fit(tasks, ids, BYTES_MAX), 1) + 1, -1 do
  ids[i], dues[2 * i - 1], dues[2 * i] = nil, nil, nil
end
return {dues, hmget(tasks, ids)}

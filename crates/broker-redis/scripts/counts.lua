-- counts.lua   Tells how many tasks are in each place.
-- KEYS  1 Q:scheduled   2 Q:dead   3 Q:identities   4 Q:active: (what all processing lists begin with)
--       5-14 Q:ready:0 to 9
-- Reply {ready, scheduled, active, dead}
local scheduled, dead, identities, actives = KEYS[1], KEYS[2], KEYS[3], KEYS[4]

local ready, active = 0, 0
for at = 5, 14 do ready = ready + redis.call('LLEN', KEYS[at]) end
local workers = redis.call('ZRANGE', identities, 0, -1)
for i = 1, #workers do active = active + redis.call('HLEN', actives .. workers[i]) end
return {ready, redis.call('ZCARD', scheduled), active, redis.call('ZCARD', dead)}

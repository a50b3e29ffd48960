-- resign.lua   Gives the lead up.
-- KEYS  1 B:meta   2 B:standby
-- ARGV  1 the beat
-- Reply 'resigned' | 'not_leader'
local meta, standby = KEYS[1], KEYS[2]

if redis.call('HGET', meta, 'leader') ~= ARGV[1] then return 'not_leader' end
redis.call('HDEL', meta, 'leader', 'lease', 'renewed')
ring(standby)
return 'resigned'

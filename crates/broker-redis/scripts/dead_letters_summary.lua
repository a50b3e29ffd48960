-- dead_letters_summary.lua   Tells how many dead letters there are, what they take, and what is kept of them.
-- KEYS  1 Q:meta   2 Q:dead
-- ARGV  1 now, '' for Redis's clock
-- Reply {now, how many there are, bytes, how many were cut, retention as stored}
local meta, dead = KEYS[1], KEYS[2]

local fields = redis.call('HMGET', meta, 'dead_bytes', 'cut', 'retention')
return {now_of(ARGV[1]), redis.call('ZCARD', dead), fields[1] or '0', fields[2] or '0', fields[3] or ''}

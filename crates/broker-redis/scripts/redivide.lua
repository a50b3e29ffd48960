-- redivide.lua   Writes the division of a queue again, which Redis has lost.          (docs/decisions/010)
-- KEYS  1 Q:meta   2 Q:bell
-- ARGV  1 the division
-- Reply {'present' | 'written', division, bound that is not shared out yet or ''}
local meta, bell = KEYS[1], KEYS[2]

local settings = redis.call('HMGET', meta, 'partitions', 'bound', 'whole')
if settings[1] then return {'present', settings[1], settings[3] or ''} end
redis.call('HSET', meta, 'partitions', ARGV[1], 'whole', settings[2] or '')
ring(bell)
return {'written', ARGV[1], settings[2] or ''}

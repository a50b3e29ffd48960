-- retain.lua   Sets how many dead letters are kept.
-- KEYS  1 Q:meta
-- ARGV  1 COUNT:MS:BYTES, each empty where there is no limit
-- Reply 'kept'
local meta = KEYS[1]

redis.call('HSET', meta, 'retention', ARGV[1])
-- The letter stays: whoever buries looks at the limits then.
remember(meta, redis.call('HGET', meta, 'used') or '', 'd')
return 'kept'

-- retire.lua   Ends an identity that holds nothing.
-- KEYS  1 Q:meta   2 Q:identities   3 Q:suspects   4 Q:active:W   5 Q:reports
-- ARGV  1 worker   2 field of its lease in Q:meta
-- Reply 'retired' | 'holds' (some tasks still: left to its lease)
local meta, identities, suspects, active, reports = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]

if 0 < redis.call('HLEN', active) then return 'holds' end
local refusal = wrong_type({meta, 'hash', identities, 'zset', suspects, 'hash', reports, 'hash'})
if refusal then return refusal end
redis.call('ZREM', identities, ARGV[1])
redis.call('HDEL', suspects, ARGV[1])
redis.call('HDEL', meta, ARGV[2])
redis.call('HDEL', reports, ARGV[1])
return 'retired'

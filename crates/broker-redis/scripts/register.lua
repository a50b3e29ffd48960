-- register.lua   Makes a worker known, with a lease.
-- KEYS  1 Q:meta   2 Q:identities   3 Q:suspects
-- ARGV  1 now, '' for Redis's clock   2 worker   3 field of its lease in Q:meta   4 lease in ms
-- Reply 'registered' | 'lost' (recovery is taking its tasks: dead for good)
local meta, identities, suspects = KEYS[1], KEYS[2], KEYS[3]
local worker, lease_field = ARGV[2], ARGV[3]

if redis.call('HGET', suspects, worker) == 'dead' then return 'lost' end
local refusal = wrong_type({meta, 'hash'})
if refusal then return refusal end
-- Never looked at: recovery looks at it next.
redis.call('ZADD', identities, 'NX', 0, worker)
redis.call('HSET', meta, lease_field, lease_text(tonumber(ARGV[4]), now_of(ARGV[1])))
return 'registered'

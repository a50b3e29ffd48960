-- report.lua   Keeps what a worker says of itself.
-- KEYS  1 Q:identities   2 Q:suspects   3 Q:reports
-- ARGV  1 now, '' for Redis's clock   2 worker   3 report
-- Reply 'kept' | 'lost' (recovered, or never registered)
local identities, suspects, reports = KEYS[1], KEYS[2], KEYS[3]
local worker = ARGV[2]

-- Of an unknown one nobody would take the report away.
if not redis.call('ZSCORE', identities, worker) then return 'lost' end
if redis.call('HGET', suspects, worker) == 'dead' then return 'lost' end
redis.call('HSET', reports, worker, digits(now_of(ARGV[1])) .. ':' .. ARGV[3])
return 'kept'

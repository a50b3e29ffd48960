-- workers.lua   Shows a part of the workers that are known.
-- KEYS  1 Q:meta   2 Q:identities   3 Q:reports
-- ARGV  1 now, '' for Redis's clock   2 offset   3 limit, at most 1000   4 what the fields of leases in Q:meta begin with
-- Reply, shorter than the limit where the reports are large, {now, workers, ends of leases, reports}
local meta, identities, reports = KEYS[1], KEYS[2], KEYS[3]
local BYTES_MAX = 4 * 1024 * 1024
local offset, limit = tonumber(ARGV[2]), tonumber(ARGV[3])

local workers, leases = redis.call('ZRANGE', identities, offset, offset + limit - 1), {}
for i = #workers, math.max(that_fit(reports, workers, BYTES_MAX), 1) + 1, -1 do workers[i] = nil end
for i = 1, #workers do leases[i] = ARGV[4] .. workers[i] end
leases = hmget(meta, leases)
for i = 1, #leases do leases[i] = digits(lease_of(leases[i]) or 0) end
return {now_of(ARGV[1]), workers, leases, hmget(reports, workers)}

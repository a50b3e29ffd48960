-- schedules.lua   Shows schedules in the order of their names.
-- KEYS  1 B:versions   2 B:records   3 B:wakes   4 B:names
-- ARGV  1 now, '' for Redis's clock   2 '-', or '(' and the name behind which to begin   3 limit, 1 to 1000
-- Reply, shorter than the limit where the records are large, {now, names, versions, wakes, records}; a missing version,
--       wake or record is false
local versions, records, wakes, all_names = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local BYTES_MAX = 8 * 1024 * 1024

local names = redis.call('ZRANGEBYLEX', all_names, ARGV[2], '+', 'LIMIT', 0, ARGV[3])
for i = #names, math.max(that_fit(records, names, BYTES_MAX), 1) + 1, -1 do names[i] = nil end
local their_versions, their_records, their_wakes = hmget(versions, names), hmget(records, names), {}
for i = 1, #names do their_wakes[i] = redis.call('ZSCORE', wakes, names[i]) end
-- A name that stands for nothing any more must not end somebody's paging.
for i = 1, #names do
  if not their_versions[i] then redis.call('ZREM', all_names, names[i]) end
end
return {digits(now_of(ARGV[1])), names, their_versions, their_wakes, their_records}

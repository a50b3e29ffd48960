-- schedule.lua   Shows one schedule.
-- KEYS  1 B:versions   2 B:records   3 B:wakes
-- ARGV  1 now, '' for Redis's clock   2 its name
-- Reply {now, version, wake, record}; each of the last three is false where it is missing
local versions, records, wakes = KEYS[1], KEYS[2], KEYS[3]
local name = ARGV[2]

return {
  digits(now_of(ARGV[1])),
  redis.call('HGET', versions, name),
  redis.call('ZSCORE', wakes, name),
  redis.call('HGET', records, name),
}

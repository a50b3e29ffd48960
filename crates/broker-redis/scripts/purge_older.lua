-- purge_older.lua   dead -> gone                          (docs/architecture.md#lifecycle)
-- KEYS  1 Q:meta   2 Q:tasks   3 Q:dead   4 Q:reasons   5 Q:facts   6 Q:locks   7 Q:callbacks
-- ARGV  1 now, '' for Redis's clock   2 ms since their death
-- Reply {how many were removed, 1 if there are more}
local meta, tasks, dead, reasons, facts, locks = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5], KEYS[6]
local callbacks = KEYS[7]
local PURGED_MAX = 1000

local until_ms = math.max(now_of(ARGV[1]) - tonumber(ARGV[2]), -1)
local purged = redis.call('ZRANGEBYSCORE', dead, '-inf', digits(until_ms), 'LIMIT', 0, PURGED_MAX)
local refusal = wrong_type({
  meta, 'hash', tasks, 'hash', reasons, 'hash', facts, 'hash', locks, 'hash', callbacks, 'zset',
})
if refusal then return refusal end

local bytes = 0
for i = 1, #purged do bytes = bytes + size_of(tasks, reasons, purged[i]) end
drop_dead(meta, tasks, dead, reasons, facts, locks, purged, bytes)
write('ZREM', callbacks, purged)
local left = redis.call('ZCOUNT', dead, '-inf', digits(until_ms))
return {#purged, math.min(left, 1)}

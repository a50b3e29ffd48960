-- reschedule.lua   scheduled: due at another time
-- KEYS  1 Q:scheduled   2 Q:bell
-- ARGV  1 now, '' for Redis's clock   2 id   3 'in' | 'at'   4 the span from now on, or the instant, in ms
-- Reply 'not_scheduled' | {'moved', due}
local scheduled, bell = KEYS[1], KEYS[2]
local id, ms = ARGV[2], tonumber(ARGV[4])

if not redis.call('ZSCORE', scheduled, id) then return 'not_scheduled' end
local now, head = now_of(ARGV[1]), earliest(scheduled)
local due = ms
if ARGV[3] == 'in' then due = now + ms end
due = math.min(math.max(due, now), MILLIS_MAX)
redis.call('ZADD', scheduled, digits(due), id)
-- Whoever waits until the earliest one is due looks again where that is sooner now.
if due <= now or due < head then ring(bell) end
return {'moved', digits(due)}

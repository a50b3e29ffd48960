-- leader.lua   Shows who leads.
-- KEYS  1 B:meta
-- ARGV  1 now, '' for Redis's clock
-- Reply 'nobody' | {'leader', the beat, its epoch, when its lease ends, now}
local settings = redis.call('HMGET', KEYS[1], 'leader', 'epoch', 'lease', 'renewed')
if not settings[1] then return 'nobody' end
local now = now_of(ARGV[1])
local lease_end = end_of_lease(settings[3], settings[4], now)
return {'leader', settings[1], settings[2] or '0', digits(lease_end), digits(now)}

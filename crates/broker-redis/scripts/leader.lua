-- leader.lua   Shows who leads.
-- KEYS  1 B:meta
-- ARGV  1 now, '' for Redis's clock
-- Reply 'nobody' | {'leader', the beat, its epoch, when its lease ends, now}
local settings = redis.call('HMGET', KEYS[1], 'leader', 'epoch', 'lease')
if not settings[1] then return 'nobody' end
return {'leader', settings[1], settings[2] or '0', settings[3] or '0', digits(now_of(ARGV[1]))}

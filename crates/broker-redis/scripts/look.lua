-- look.lua   Tells what a claim would, and takes nothing.
-- KEYS  1 Q:meta   2 Q:active:W   3 Q:scheduled   4 Q:bell   5-14 Q:ready:0 to 9
-- ARGV  1 now, '' for Redis's clock   2 field of the lease in Q:meta   3 division that the worker goes by
-- Reply 'no_lease' | {'moved', division of the queue}
--       | {now, held, ms until the next is due or -1, 1 if something is ready or due}
local meta, active, scheduled, bell = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local READY = 5

local now = now_of(ARGV[1])
local settings = redis.call('HMGET', meta, ARGV[2], 'used', 'partitions')
if (settings[3] or '') ~= ARGV[3] then return {'moved', settings[3] or ''} end
local lease, used, next_due, left = lease_of(settings[1]), settings[2] or '', nil, 0
if not lease or lease <= now then return 'no_lease' end
if has(used, 's') then next_due = earliest(scheduled) end
if next_due and next_due <= now then left = 1 end
for level = 0, 9 do
  if has(used, level) and redis.call('EXISTS', KEYS[READY + level]) == 1 then left = 1 end
end
-- Whoever was woken for it has looked here only.
if left == 1 then ring(bell) end
return {now, redis.call('HLEN', active), next_due and math.max(next_due - now, 0) or -1, left}

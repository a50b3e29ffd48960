-- renew.lua   Moves the end of a worker's lease, and tells which of its tasks somebody cancelled.
-- KEYS  1 Q:meta   2 Q:identities   3 Q:suspects   4 Q:cancels   5 Q:active:W
-- ARGV  1 now, '' for Redis's clock   2 worker   3 field of its lease in Q:meta   4 lease in ms
-- Reply 'lost' (recovered, or never registered) | {ids of cancelled tasks, at most 100}
local meta, identities, suspects, cancels, active = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]
local worker, lease_field = ARGV[2], ARGV[3]
local CANCELLED_MAX, LOOKED_AT_MAX = 100, 1000

if not redis.call('ZSCORE', identities, worker) then return 'lost' end
if redis.call('HGET', suspects, worker) == 'dead' then return 'lost' end
local cancelled = {}
if redis.call('EXISTS', cancels) == 1 then
  -- All of them as a rule. Of more than 1000 a random part: the rest comes with later renewals.
  local marked = redis.call('SRANDMEMBER', cancels, LOOKED_AT_MAX)
  local marks = hmget(active, marked)
  for i = 1, #marked do
    if marks[i] and #cancelled < CANCELLED_MAX then cancelled[#cancelled + 1] = marked[i] end
  end
end
-- Counted from when this is executed, so that a late request ends no lease earlier than a newer one; unless Redis's clock
-- was set back meanwhile, and then the lease has to follow it.
redis.call('HSET', meta, lease_field, lease_text(tonumber(ARGV[4]), now_of(ARGV[1])))
return cancelled

-- orphans.lua   Finds workers that hold tasks and are not registered: recovery looks at those that are.
-- KEYS  1 Q:identities   2 Q:meta   3 Q:active: (what all processing lists begin with)
-- ARGV  1 'look' | 'repair': registers them, with a lease that has ended   2 what the fields of leases in Q:meta begin with
--       3.. workers, at most 200
-- Reply those that are
local identities, meta, actives = KEYS[1], KEYS[2], KEYS[3]

local orphans = {}
for i = 3, #ARGV do
  if 0 < redis.call('HLEN', actives .. ARGV[i]) and not redis.call('ZSCORE', identities, ARGV[i]) then
    orphans[#orphans + 1] = ARGV[i]
  end
end
local refusal = wrong_type({meta, 'hash'})
if refusal then return refusal end
if ARGV[1] == 'repair' then
  for i = 1, #orphans do
    redis.call('HSET', meta, ARGV[2] .. orphans[i], 0)
    redis.call('ZADD', identities, 0, orphans[i])
  end
end
return orphans

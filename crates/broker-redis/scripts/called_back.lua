-- called_back.lua   Forgets callbacks that were sent; one owed for a later death stays.
-- KEYS  1 Q:callbacks   2 Q:dead
-- ARGV  1.. id, time of death, at most 1000 pairs
-- Reply how many are owed no more
local callbacks, dead = KEYS[1], KEYS[2]

local paid = {}
for at = 1, #ARGV, 2 do
  local died_at = redis.call('ZSCORE', dead, ARGV[at])
  if not died_at or tonumber(died_at) == tonumber(ARGV[at + 1]) then paid[#paid + 1] = ARGV[at] end
end
write('ZREM', callbacks, paid)
return #paid

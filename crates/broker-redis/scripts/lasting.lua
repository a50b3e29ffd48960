-- lasting.lua   Finds results that would be kept for ever.
-- KEYS  1 Q:result: (what all results begin with)
-- ARGV  1 'look' | 'repair': they are kept for a while   2 for how many ms   3.. ids, 32 digits each, at most 200
-- Reply those that are
local results = KEYS[1]

local lasting = {}
for i = 3, #ARGV do
  if redis.call('PTTL', results .. ARGV[i]) == -1 then
    lasting[#lasting + 1] = ARGV[i]
    if ARGV[1] == 'repair' then redis.call('PEXPIRE', results .. ARGV[i], ARGV[2]) end
  end
end
return lasting

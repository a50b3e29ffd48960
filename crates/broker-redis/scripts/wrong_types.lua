-- wrong_types.lua   Finds keys that hold something of another type than they should.
-- KEYS  any of a queue
-- ARGV  the type of each
-- Reply what is wrong, a text each
local found = {}
for i = 1, #ARGV do
  local kind = redis.call('TYPE', KEYS[i]).ok
  if kind ~= 'none' and kind ~= ARGV[i] then
    found[#found + 1] = KEYS[i] .. ' holds a ' .. kind .. ', not a ' .. ARGV[i]
  end
end
return found

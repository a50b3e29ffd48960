-- lasting.lua   Finds what should go by itself, and would be kept for ever.
-- KEYS  1 Q:result: or Q:once: (what all of them begin with)
-- ARGV  1 now, '' for Redis's clock   2 'look' | 'repair': they are kept until the instant that stands in them, or for a while
--       3 for how many ms   4.. ids, 32 digits each, at most 200
-- Reply those that are
local begin = KEYS[1]
local SLACK_MS = 60000
local now = now_of(ARGV[1])

local lasting = {}
for i = 4, #ARGV do
  local key = begin .. ARGV[i]
  if redis.call('PTTL', key) == -1 then
    lasting[#lasting + 1] = ARGV[i]
    if ARGV[2] == 'repair' then
      -- What is remembered of an idempotent send has 16 bytes of an id before its end; a result is none of that.
      local held = redis.pcall('GET', key)
      local ends = type(held) == 'string' and tonumber(string.match(held, '^%d+$', 17))
      redis.call('PEXPIRE', key, ends and digits(math.max(ends - now, 0) + SLACK_MS) or ARGV[3])
    end
  end
end
return lasting

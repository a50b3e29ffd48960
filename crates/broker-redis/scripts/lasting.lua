-- lasting.lua   Finds what should go by itself, and would be kept for ever.
-- KEYS  1 Q:result: or Q:once: (what all of them begin with)
-- ARGV  1 now, '' for Redis's clock   2 'look' | 'repair': they are kept until the instant that stands in them, or for a while
--       3 for how many ms   4 'results' | 'sends'   5.. ids, 32 digits each, at most 200
-- Reply those that are
local begin = KEYS[1]
local SLACK_MS = 60000
local now = now_of(ARGV[1])

local lasting = {}
for i = 5, #ARGV do
  local key = begin .. ARGV[i]
  if redis.call('PTTL', key) == -1 then
    lasting[#lasting + 1] = ARGV[i]
    if ARGV[2] == 'repair' then
      -- What is remembered of a send has 16 bytes of an id before its end; what a result says is its task's.
      local held = redis.pcall('GET', key)
      local ends = ARGV[4] == 'sends' and type(held) == 'string' and tonumber(string.match(held, '^%d+$', 17))
      redis.call('PEXPIRE', key, ends and digits(math.max(math.min(ends, MILLIS_MAX) - now, 0) + SLACK_MS) or ARGV[3])
    end
  end
end
return lasting

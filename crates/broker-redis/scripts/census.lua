-- census.lua   Tells all that a queue holds of some tasks, in one step.
-- KEYS  see lib/census.lua
-- ARGV  1 '1' to go through the ready lists, for at most 20 ids   2 most entries of those, all together
--       3 how many workers follow that may not be registered   4.. those, then ids, at most 200
-- Reply a text for each id; for the first ones alone where there are many workers
local LOOKUPS_MAX = 20000
local seek, ready_max, n_unlisted = ARGV[1] == '1', tonumber(ARGV[2]), tonumber(ARGV[3])

local unlisted, ids = {}, {}
for i = 4, 3 + n_unlisted do unlisted[#unlisted + 1] = ARGV[i] end
local workers = all_workers(unlisted)
local last = math.min(#ARGV, 3 + n_unlisted + math.max(math.floor(LOOKUPS_MAX / math.max(#workers, 1)), 1))
for i = 4 + n_unlisted, last do ids[#ids + 1] = ARGV[i] end
return census_of(ids, workers, seek, ready_max)

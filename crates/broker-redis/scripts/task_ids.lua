-- task_ids.lua   A page of the ids of all envelopes, without those.
-- KEYS  1 Q:tasks   2 Q:meta
-- ARGV  1 cursor
-- Reply {next cursor, ids}
local tasks, meta = KEYS[1], KEYS[2]
-- What HSCAN reads is copied in Redis's memory.
local PAGE, PAGE_OF_LARGE = 200, 10

local large = has(redis.call('HGET', meta, 'used') or '', 'l')
local page = redis.call('HSCAN', tasks, ARGV[1], 'COUNT', large and PAGE_OF_LARGE or PAGE)
local ids = {}
for i = 1, #page[2], 2 do ids[#ids + 1] = page[2][i] end
return {page[1], ids}

-- partition.lua   Divides a queue that holds nothing.          (docs/decisions/010)
-- Only its first partition, whose keys are those of an undivided queue, says how many there are.
-- KEYS  1 Q:meta   2 Q:tasks   3 Q:bell
-- ARGV  1 how many partitions
-- Reply {'done', division, bound or ''} | {'fixed', division} | {'holds', how many tasks}
local meta, tasks, bell = KEYS[1], KEYS[2], KEYS[3]

local settings = redis.call('HMGET', meta, 'partitions', 'forwarded', 'bound')
local present = settings[1]
if string.match(present or '1:', '^(%d+):') == ARGV[1] then return {'done', present or '', ''} end
if present then return {'fixed', present} end
local len = redis.call('HLEN', tasks)
if 0 < len then return {'holds', len} end

local division = ARGV[1] .. ':' .. (settings[2] or '0')
redis.call('HSET', meta, 'partitions', division)
-- For an idle worker, which learns of it by its next claim.
ring(bell)
return {'done', division, settings[3] or ''}

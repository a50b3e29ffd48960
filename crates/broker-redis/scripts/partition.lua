-- partition.lua   Divides a queue that holds nothing and remembers nothing.          (docs/decisions/010)
-- Only its first partition, whose keys are those of an undivided queue, says how many there are.
-- KEYS  1 Q:meta   2 Q:tasks   3 Q:bell
-- ARGV  1 now, '' for Redis's clock   2 how many partitions
-- Reply {'done', division, bound that is not shared out yet or ''} | {'fixed', division} | {'holds', how many tasks}
--       | {'remembers', for how many ms from now on}
local meta, tasks, bell = KEYS[1], KEYS[2], KEYS[3]

local settings = redis.call('HMGET', meta, 'partitions', 'forwarded', 'bound', 'remembers', 'whole')
local present = settings[1]
if string.match(present or '1:', '^(%d+):') == ARGV[2] then return {'done', present or '', settings[5] or ''} end
if present then return {'fixed', present} end
local len = redis.call('HLEN', tasks)
if 0 < len then return {'holds', len} end
-- What outlives its task is where that was: in another partition it would not be met.
local left = (tonumber(settings[4]) or 0) - now_of(ARGV[1])
if 0 < left then return {'remembers', digits(left)} end

local division = ARGV[2] .. ':' .. (settings[2] or '0')
redis.call('HSET', meta, 'partitions', division, 'whole', settings[3] or '')
-- For an idle worker, which learns of it by its next claim.
ring(bell)
return {'done', division, settings[3] or ''}

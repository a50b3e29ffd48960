-- outboxes.lua   Compares outboxes with the set of those that hold something: what is not in it is never forwarded.
-- KEYS  1 B:outboxes   2 B:outbox: (what all outboxes begin with)
-- ARGV  1 'look' | 'repair'   2.. queues, at most 200
-- Reply for each that differs: queue, what is wrong, 1 if that was repaired
local outboxes, outbox_of = KEYS[1], KEYS[2]
local repair = ARGV[1] == 'repair'

local refusal = wrong_type({outboxes, 'set'})
if refusal then return refusal end
local found = {}
for i = 2, #ARGV do
  local queue = ARGV[i]
  local filled, known = redis.call('EXISTS', outbox_of .. queue) == 1, redis.call('SISMEMBER', outboxes, queue) == 1
  if filled ~= known then
    found[#found + 1] = queue
    found[#found + 1] = filled and 'it holds tasks that nobody would forward' or 'it is said to hold tasks, and is empty'
    found[#found + 1] = repair and 1 or 0
    if repair then redis.call(filled and 'SADD' or 'SREM', outboxes, queue) end
  end
end
return found

-- enqueue_plain.lua   -> ready                           (docs/architecture.md#lifecycle)
-- What enqueue.lua does, for one task that names no times, as most sends are: with no helper to make and the fewest
-- commands.
-- KEYS  1 Q:meta   2 Q:tasks   3 Q:bell   4 Q:ready:N
-- ARGV  1 N   2 id   3 envelope   4 division that the sender went by
-- Reply {'stored', positions of those that were there already} | {'full', len, bound} | {'moved', division of the queue}
local meta, tasks, bell, ready = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local level, id, envelope = ARGV[1], ARGV[2], ARGV[3]

local settings = redis.call('HMGET', meta, 'bound', 'used', 'partitions')
if (settings[3] or '') ~= ARGV[4] then return {'moved', settings[3] or ''} end
local bound, used = tonumber(settings[1]), settings[2] or ''
if bound and redis.call('HEXISTS', tasks, id) == 0 then
  local len = redis.call('HLEN', tasks)
  if bound <= len then return {'full', len, bound} end
end
if redis.call('HSETNX', tasks, id, envelope) == 0 then return {'stored', {0}} end
local pushed = redis.pcall('RPUSH', ready, id)
if type(pushed) == 'table' then
  redis.call('HDEL', tasks, id)
  return pushed
end
local all = used
if not string.find(all, level, 1, true) then all = all .. level end
-- LARGE_BYTES of lib/envelope.lua.
if 8192 < #envelope and not string.find(all, 'l', 1, true) then all = all .. 'l' end
if all ~= used then redis.call('HSET', meta, 'used', all) end
-- As `ring` does: a bell of the wrong type fails in the waits.
redis.pcall('ZADD', bell, 'NX', 0, 'ring')
return {'stored', {}}

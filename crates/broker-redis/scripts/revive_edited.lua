-- revive_edited.lua   dead -> ready | scheduled           (docs/architecture.md#lifecycle)
-- KEYS  1 Q:meta   2 Q:tasks   3 Q:dead   4 Q:reasons   5 Q:facts   6 Q:bell   7 Q:scheduled   8 Q:locks
--       9 Q:unique: (what all locks begin with)   10-19 Q:ready:0 to 9   20 Q:callbacks
-- ARGV  1 now, '' for Redis's clock   2 id   3 when it died   4 envelope that takes the place of the old one   5 its lock,
--       as in enqueue_unique.lua, '' for none
-- Reply 'revived' | 'not_dead' (or it died at another time) | {'held', the task that holds its key} | 'malformed'
local meta, tasks, dead, reasons, facts, bell = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5], KEYS[6]
local scheduled, locks, uniques, callbacks = KEYS[7], KEYS[8], KEYS[9], KEYS[20]
local READY = 10
local id = ARGV[2]

if #ARGV[4] < HEADER_BYTES then return 'malformed' end
local died = tonumber(redis.call('ZSCORE', dead, id))
if not died or died ~= tonumber(ARGV[3]) then return 'not_dead' end
local now, levels = now_of(ARGV[1]), {}
local envelope, start = pin(with_attempts(ARGV[4], 0), now)
local waits = start and now < start
if not waits then add_to_level(levels, level_of(envelope), id) end
local refusal = wrong_ready(levels, READY)
  or wrong_type({
    tasks, 'hash', reasons, 'hash', facts, 'hash', meta, 'hash', scheduled, 'zset', locks, 'hash', callbacks, 'zset',
  })
if refusal then return refusal end
local lock, holder = lock_of_dead(locks, uniques, tasks, id, now, ARGV[5])
if holder then return {'held', holder} end

local head = earliest(scheduled)
local noted = redis.call('HMGET', meta, 'used', 'remembers', 'partitions')
count_dead_bytes(meta, -size_of(tasks, reasons, id))
redis.call('ZREM', dead, id)
redis.call('ZREM', callbacks, id)
redis.call('HDEL', reasons, id)
redis.call('HDEL', facts, id)
redis.call('HSET', tasks, id, envelope)
if lock then
  local ends = hold_anew(locks, uniques, id, lock, waits and start or now, now)
  if lock.mode == 't' and not noted[3] then outlive(meta, noted[2], ends) end
elseif ARGV[5] == '' then
  redis.call('HDEL', locks, id)
end
local letters = push('RPUSH', levels, READY)
if waits then
  redis.call('ZADD', scheduled, digits(start), id)
  letters = 's'
end
if LARGE_BYTES < #envelope then letters = letters .. 'l' end
if calls_back(envelope) then letters = letters .. 'c' end
if lock then letters = letters .. 'u' end
remember(meta, noted[1] or '', letters)
if not waits or not head or start < head then ring(bell) end
return 'revived'

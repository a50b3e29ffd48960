-- revive.lua   dead -> ready                              (docs/architecture.md#lifecycle)
-- KEYS  1 Q:meta   2 Q:tasks   3 Q:dead   4 Q:reasons   5 Q:facts   6 Q:bell   7-16 Q:ready:0 to 9
-- ARGV  1 id
-- Reply 'revived' | 'not_dead'
local meta, tasks, dead, reasons, facts, bell = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5], KEYS[6]
local READY = 7
local id = ARGV[1]

if not redis.call('ZSCORE', dead, id) then return 'not_dead' end
local envelope = redis.call('HGET', tasks, id)
local levels = {}
if envelope then add_to_level(levels, level_of(envelope), id) end
local refusal = wrong_ready(levels, READY) or wrong_type({reasons, 'hash', facts, 'hash', meta, 'hash'})
if refusal then return refusal end

redis.call('ZREM', dead, id)
redis.call('HDEL', reasons, id)
redis.call('HDEL', facts, id)
if not envelope then return 'not_dead' end
redis.call('HSET', tasks, id, with_attempts(envelope, 0))
local letters = push('RPUSH', levels, READY)
-- What was pushed by hand may be of any size.
if LARGE_BYTES < #envelope then letters = letters .. 'l' end
remember(meta, redis.call('HGET', meta, 'used') or '', letters)
ring(bell)
return 'revived'

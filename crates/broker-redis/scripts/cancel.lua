-- cancel.lua   ready | scheduled | dead -> gone; active: marked   (docs/architecture.md#lifecycle)
-- KEYS  1 Q:tasks   2 Q:scheduled   3 Q:dead   4 Q:reasons   5 Q:facts   6 Q:cancels   7 Q:ghosts   8 Q:waiting
--       9 Q:meta   10 Q:identities   11 Q:active: (what all processing lists begin with)   12 Q:result:ID   13 Q:locks
--       14 Q:unique: (what all locks begin with)   15 Q:callbacks
-- ARGV  1 id   2 what all channels begin with   3 ms for which the outcome is kept
-- Reply 'removed' | 'marked' | 'unknown'
local tasks, scheduled, dead, reasons, facts, cancels = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5], KEYS[6]
local ghosts, waiting, meta, identities, actives, result = KEYS[7], KEYS[8], KEYS[9], KEYS[10], KEYS[11], KEYS[12]
local locks, uniques, callbacks = KEYS[13], KEYS[14], KEYS[15]
local id = ARGV[1]

local envelope = redis.call('HGET', tasks, id)
if not envelope then return 'unknown' end
local refusal = wrong_type({
  scheduled, 'zset', dead, 'zset', reasons, 'hash', facts, 'hash', cancels, 'set', ghosts, 'hash', waiting, 'hash',
  meta, 'hash', identities, 'zset', locks, 'hash', callbacks, 'zset',
})
if refusal then return refusal end

if redis.call('ZSCORE', dead, id) then
  count_dead_bytes(meta, -size_of(tasks, reasons, id))
  redis.call('ZREM', dead, id)
  redis.call('ZREM', callbacks, id)
  redis.call('HDEL', reasons, id)
elseif redis.call('ZSCORE', scheduled, id) then
  redis.call('ZREM', scheduled, id)
else
  -- Ids in ready lists are not indexed. What no worker of any identity holds is there.
  local workers = redis.call('ZRANGE', identities, 0, -1)
  for i = 1, #workers do
    if redis.call('HEXISTS', actives .. workers[i], id) == 1 then
      redis.call('SADD', cancels, id)
      return 'marked'
    end
  end
  -- Its entry surfaces one day, and claim.lua skips it. An id sent again since then has an entry behind it.
  add_ghost(ghosts, id, level_of(envelope))
  remember(meta, redis.call('HGET', meta, 'used') or '', 'g')
end
redis.call('HDEL', tasks, id)
redis.call('HDEL', facts, id)
if is_unique(envelope) then
  local mode, key, _, worker = lock_of(redis.call('HGET', locks, id))
  -- One that no worker ever took gives up its span as well.
  if mode and (mode ~= 't' or worker == '') then free(uniques, key, id) end
  redis.call('HDEL', locks, id)
end
redis.call('SET', result, CANCELLED, 'PX', ARGV[3])
tell(waiting, ARGV[2], {id}, {CANCELLED})
return 'removed'

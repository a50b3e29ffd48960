-- outcome.lua   Answers how a task ended, or notes who waits for it.
-- KEYS  1 Q:result:ID   2 Q:tasks   3 Q:dead   4 Q:reasons   5 Q:waiting
-- ARGV  1 id   2 handle that waits, 32 hex digits
-- Reply {'ended', outcome} | 'waiting' | 'unknown'
local result, tasks, dead, reasons, waiting = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]
local id, handle = ARGV[1], ARGV[2]
-- Handles that are told of one task. Later ones ask again from time to time, as all do.
local WAITERS_MAX = 64

-- A task that lives again under an old id is waited for: its earlier outcome is not its own.
if redis.call('HEXISTS', tasks, id) == 0 then
  local outcome = redis.call('GET', result)
  if outcome then return {'ended', outcome} end
  return 'unknown'
end
if redis.call('ZSCORE', dead, id) then
  local record = redis.call('HGET', reasons, id)
  return {'ended', failed(record or failure('other', 'no reason was kept'))}
end
local waiters = redis.call('HGET', waiting, id) or ''
if not string.find(waiters, handle, 1, true) and #waiters < WAITERS_MAX * 32 then
  redis.call('HSET', waiting, id, waiters .. handle)
end
return 'waiting'

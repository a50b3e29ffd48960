-- repair.lua   Repairs what somebody else has broken: moves a task to the place where it belongs, and removes what stands for
-- nothing, if it still is as it was when that was decided.
-- KEYS  1-22 see lib/census.lua   23 Q:meta   24 Q:bell   25 Q:unique: (what all locks begin with)
-- ARGV  1 id   2 its census   3 most entries of ready lists   4 how many workers follow that may not be registered
--       5.. those, then changes: kind, worker or priority or now ('' for Redis's clock) or '', number or ''
-- Reply 'repaired' | 'changed' (it is no longer so: nothing was done)
local tasks, scheduled, dead, facts, reasons, waiting, cancels, ghosts =
  KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5], KEYS[6], KEYS[7], KEYS[8]
local actives, locks, callbacks, meta, bell, uniques = KEYS[20], KEYS[21], KEYS[22], KEYS[23], KEYS[24], KEYS[25]
local id, n_unlisted = ARGV[1], tonumber(ARGV[4])

local unlisted = {}
for i = 5, 4 + n_unlisted do unlisted[#unlisted + 1] = ARGV[i] end
-- Each key is read here, so that one of a wrong type ends the script before it writes.
local found = census_of({id}, all_workers(unlisted), true, tonumber(ARGV[3]))[1]
if found ~= ARGV[2] then return 'changed' end
local used = redis.call('HGET', meta, 'used') or ''

-- It may have begun: who held it is not known any more.
local function abandon(envelope, now)
  redis.call('HSET', reasons, id, failure('abandoned', 'this at-most-once task was in no place: it may have run in part'))
  redis.call('ZADD', dead, digits(now), id)
  count_dead_bytes(meta, size_of(tasks, reasons, id))
  if is_unique(envelope) then let_go(locks, uniques, {id}) end
  if calls_back(envelope) then
    redis.call('ZADD', callbacks, digits(now), id)
    used = remember(meta, used, 'c')
  end
end

local function make_ready(now)
  local envelope = redis.call('HGET', tasks, id)
  if acks_early(envelope) then return abandon(envelope, now_of(now)) end
  local level = level_of(envelope)
  redis.call('RPUSH', KEYS[FIRST_READY + level], id)
  used = remember(meta, used, level .. (LARGE_BYTES < #envelope and 'l' or ''))
  ring(bell)
end

local function unbury()
  count_dead_bytes(meta, -size_of(tasks, reasons, id))
  redis.call('ZREM', dead, id)
  redis.call('HDEL', reasons, id)
  redis.call('ZREM', callbacks, id)
end

local function set_ghosts(level, count)
  if count == '0' then
    redis.call('HDEL', ghosts, id .. level)
  else
    redis.call('HSET', ghosts, id .. level, count)
  end
end

local changes = {
  ready = make_ready,
  unschedule = function() redis.call('ZREM', scheduled, id) end,
  unbury = unbury,
  take = function(worker) redis.call('HDEL', actives .. worker, id) end,
  -- From the tail: an entry before those may stand for nothing.
  entries = function(level, count) redis.call('LREM', KEYS[FIRST_READY + level], -count, id) end,
  ghosts = set_ghosts,
  facts = function() redis.call('HDEL', facts, id) end,
  reason = function() redis.call('HDEL', reasons, id) end,
  waiting = function() redis.call('HDEL', waiting, id) end,
  cancel = function() redis.call('SREM', cancels, id) end,
  lock = function() redis.call('HDEL', locks, id) end,
  callback = function() redis.call('ZREM', callbacks, id) end,
}
for i = 5 + n_unlisted, #ARGV, 3 do changes[ARGV[i]](ARGV[i + 1], ARGV[i + 2]) end
return 'repaired'

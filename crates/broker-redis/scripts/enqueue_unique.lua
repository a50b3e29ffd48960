-- enqueue_unique.lua   -> ready | scheduled                (docs/architecture.md#lifecycle, docs/uniqueness.md)
-- Decides for each task whether it is new, the same as one that was sent before, or takes the place of one that waits.
-- What is new is stored by the code of enqueue.lua, which is the function `store` here.
-- KEYS  those of enqueue.lua, then   1 Q:dead   2 Q:reasons   3 Q:locks   4 Q:unique: (what all locks begin with)
--       5 Q:once: (likewise)   6 Q:ghosts   7 Q:facts   8 Q:active: (likewise)
-- ARGV  1 now, '' for Redis's clock   2 levels of the tasks, a digit each   3 division that the sender went by
--       4.. id, envelope, lock or '', what is remembered or '', at most 1000 of these, no id twice. A lock is until when
--       (s, d, t), the key, ':', its span in ms or '', ':', 'reject' or 'replace', ':', the longest wait in ms or ''. What is
--       remembered is the send, 32 digits, ':', for how many ms
-- Reply {'stored', positions of those that are not new, what they are: 'duplicate' | 'existing' | 'replaced', and as which
--       id they are known} | {'full', len, bound} | {'malformed', position} | {'moved', division of the queue}
local meta, tasks, scheduled, bell = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local BEHIND = 4 + #ARGV[2]
local dead, locks, uniques, onces = KEYS[BEHIND + 1], KEYS[BEHIND + 3], KEYS[BEHIND + 4], KEYS[BEHIND + 5]
local ghosts, facts, actives = KEYS[BEHIND + 6], KEYS[BEHIND + 7], KEYS[BEHIND + 8]
local now = now_of(ARGV[1])

for at = 4, #ARGV, 4 do
  if #ARGV[at + 1] < HEADER_BYTES then return {'malformed', (at - 4) / 4} end
end
local division = redis.call('HGET', meta, 'partitions') or ''
if division ~= ARGV[3] then return {'moved', division} end
local refusal = wrong_type({
  locks, 'hash', ghosts, 'hash', facts, 'hash', dead, 'zset', scheduled, 'zset', tasks, 'hash', meta, 'hash',
})
if refusal then return refusal end

-- Whether the task that holds a key waits, and may give its place. One that held it for a span may be gone, and its id that
-- of another one.
local function waits(id, key)
  if redis.call('HEXISTS', tasks, id) == 0 or redis.call('ZSCORE', dead, id) then return false end
  local _, its_key, _, worker = lock_of(redis.call('HGET', locks, id))
  return its_key == key and (worker == '' or redis.call('HEXISTS', actives .. worker, id) == 0)
end

-- What this call decides: new tasks, those whose place is taken with what takes it, keys, and sends to be remembered.
local fresh, n_fresh, places, n_places, taken, remembered, sent_as = {}, 0, {}, 0, {}, {}, {}
local positions, kinds, known = {}, {}, {}

-- Who holds the key of a lock: by this call, or before it. A lock whose task is gone, as when somebody has emptied the
-- queue by hand, holds nothing.
local function holder_now(lock)
  if taken[lock.key] then return taken[lock.key] end
  local holder = holder_of(redis.call('GET', uniques .. lock.key), now)
  if not holder then return nil end
  if holder.mode ~= 't' and redis.call('HEXISTS', tasks, holder.id) == 0 then return nil end
  holder.waits = lock.replaces and waits(holder.id, lock.key)
  return holder
end

-- Keeps in `taken` who holds the key from now on.
local function take(lock, id, start, limit, former)
  local ends = nil
  if lock.mode == 't' then
    -- Whoever takes the place of another one does not make its span longer.
    ends = former and former.ends or now + tonumber(lock.span)
  elseif lock.span ~= '' then
    ends = math.max(start or now, now) + tonumber(lock.span)
  end
  taken[lock.key] = {id = id, mode = lock.mode, ends = ends, limit = limit, waits = true, lock = lock}
end

local function no_later_than(envelope, start, limit)
  if not limit or not start or start <= limit then return envelope, start end
  return string.sub(envelope, 1, 22) .. struct.pack('>I8', limit) .. string.sub(envelope, 31), limit
end

local function decide(id, envelope, text)
  if redis.call('HEXISTS', tasks, id) == 1 then return 'duplicate', id end
  if text == '' then
    n_fresh = n_fresh + 1
    fresh[n_fresh] = {id = id, envelope = envelope}
    return nil, id
  end
  local lock, start, limit = {}, nil, nil
  lock.mode, lock.key, lock.span, lock.conflict, limit = string.match(text, '^(%l)(%x+):(%d*):(%l+):(%d*)$')
  lock.replaces = lock.conflict == 'replace'
  envelope, start = pin(envelope, now)
  local holder = holder_now(lock)
  if not holder then
    limit = tonumber(limit) and now + tonumber(limit)
    envelope, start = no_later_than(envelope, start, limit)
    take(lock, id, start, limit)
    n_fresh = n_fresh + 1
    fresh[n_fresh] = {id = id, envelope = envelope, is_due = not start or start <= now}
    taken[lock.key].fresh = n_fresh
    return nil, id
  end
  -- A repeated send, whose task has run within its span.
  if holder.id == id then return 'duplicate', id end
  if not lock.replaces or not holder.waits then return 'existing', holder.id end
  envelope = string.sub(envelope, 1, 6) .. holder.id .. string.sub(envelope, 23)
  envelope, start = no_later_than(envelope, start, holder.limit)
  take(lock, holder.id, start, holder.limit, holder)
  if holder.fresh then
    local before, is_due, place = fresh[holder.fresh], not start or start <= now, holder.fresh
    if is_due and not (before.is_due and level_of(before.envelope) == level_of(envelope)) then
      -- It comes last where it is now, as one that was there before this call does.
      fresh[place], n_fresh, place = false, n_fresh + 1, n_fresh + 1
    end
    fresh[place] = {id = holder.id, envelope = envelope, is_due = is_due}
    taken[lock.key].fresh = place
  else
    local place = holder.place or n_places + 1
    n_places = math.max(n_places, place)
    places[place] = {id = holder.id, envelope = envelope, start = start}
    taken[lock.key].place = place
  end
  return 'replaced', holder.id
end

for at = 4, #ARGV, 4 do
  local id = ARGV[at]
  local send, span = string.match(ARGV[at + 3], '^(%x+):(%d+)$')
  local once = send and onces .. send
  local before = once and not sent_as[once] and redis.call('GET', once)
  if before and now < (tonumber(string.sub(before, 17)) or 0) then sent_as[once] = string.sub(before, 1, 16) end
  local kind, as
  if once and sent_as[once] then
    as = sent_as[once]
    kind = as == id and 'duplicate' or 'existing'
  else
    kind, as = decide(id, ARGV[at + 1], ARGV[at + 2])
    if once then
      remembered[#remembered + 1] = {key = once, id = as, ends = now + tonumber(span)}
      sent_as[once] = as
    end
  end
  if kind then
    positions[#positions + 1], kinds[#kinds + 1], known[#known + 1] = (at - 4) / 4, kind, as
  end
end

for i = 1, n_places do
  local refusal = wrong_type({KEYS[4 + string.find(ARGV[2], level_of(places[i].envelope), 1, true)], 'list'})
  if refusal then return refusal end
end
if 0 < n_fresh then
  local sent = {ARGV[1], ARGV[2], ARGV[3]}
  for i = 1, n_fresh do
    if fresh[i] then sent[#sent + 1], sent[#sent + 2] = fresh[i].id, fresh[i].envelope end
  end
  local answer = store(sent)
  if answer.err or answer[1] ~= 'stored' then return answer end
end

local letters, head, rings, outlives = '', earliest(scheduled), false, 0
for i = 1, n_places do
  local id, envelope, start = places[i].id, places[i].envelope, places[i].start
  local level = level_of(envelope)
  local former = level_of(redis.call('HGET', tasks, id))
  local is_ready = not redis.call('ZSCORE', scheduled, id)
  local is_due = not start or start <= now
  if is_ready and not (is_due and former == level) then
    -- Ids in ready lists are not indexed: its entry surfaces one day, and claim.lua skips it.
    add_ghost(ghosts, id, former)
    letters = letters .. 'g'
  end
  if not is_due then
    redis.call('ZADD', scheduled, digits(start), id)
    letters = letters .. 's'
    rings = rings or not head or start < head
  elseif not is_ready or former ~= level then
    redis.call('ZREM', scheduled, id)
    redis.call('RPUSH', KEYS[4 + string.find(ARGV[2], level, 1, true)], id)
    letters, rings = letters .. level, true
  end
  redis.call('HSET', tasks, id, envelope)
  redis.call('HDEL', facts, id)
  if LARGE_BYTES < #envelope then letters = letters .. 'l' end
  if calls_back(envelope) then letters = letters .. 'c' end
end
for _, held in pairs(taken) do
  hold(locks, uniques, held.id, held.lock, held.ends, held.limit, now)
  if held.mode == 't' then outlives = math.max(outlives, held.ends) end
  letters = letters .. 'u'
end
for i = 1, #remembered do
  set_until(remembered[i].key, remembered[i].id .. digits(remembered[i].ends), remembered[i].ends, now)
  outlives = math.max(outlives, remembered[i].ends)
end
local noted = redis.call('HMGET', meta, 'used', 'remembers')
remember(meta, noted[1] or '', letters)
if division == '' then outlive(meta, noted[2], outlives) end
if rings then ring(bell) end
return {'stored', positions, kinds, known}

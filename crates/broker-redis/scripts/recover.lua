-- recover.lua   active -> ready | dead | gone              (docs/architecture.md#lifecycle)
-- Looks at the identities that were looked at longest ago. One whose lease is found ended twice, `patience` apart, is
-- dead from then on; its tasks are taken back a bounded number a call, and at last the identity is forgotten.
-- KEYS  1 Q:meta   2 Q:identities   3 Q:suspects   4 Q:tasks   5 Q:active: (what all processing lists begin with)
--       6 Q:facts   7 Q:cancels   8 Q:waiting   9 Q:dead   10 Q:reasons   11 Q:result: (likewise)   12 Q:bell
--       13 Q:locks   14 Q:unique: (likewise)   15-24 Q:ready:0 to 9   25 Q:reports   26 Q:losses
--       27 Q:callbacks
-- ARGV  1 now, '' for Redis's clock   2 patience in ms   3 what the fields of leases in Q:meta begin with
--       4 losses after which a task is buried   5 what all channels begin with
--       6 ms for which a cancelled outcome is kept
-- Reply {released, buried, 1 if a dead identity still has tasks, or there is more to cut, 1 if callbacks are owed,
--       records of losses, what cut_dead answers if dead letters were cut}
local meta, identities, suspects, tasks, actives = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]
local facts, cancels, waiting, dead, reasons, results, bell = KEYS[6], KEYS[7], KEYS[8], KEYS[9], KEYS[10], KEYS[11], KEYS[12]
local locks, uniques, reports, losses = KEYS[13], KEYS[14], KEYS[25], KEYS[26]
local callbacks = KEYS[27]
local READY = 15
local LOOKED_AT_MAX, TAKEN_MAX, TAKEN_BYTES_MAX = 64, 200, 8 * 1024 * 1024
local now, patience, losses_max, channels = now_of(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[4]), ARGV[5]

local workers = redis.call('ZRANGE', identities, 0, LOOKED_AT_MAX - 1)
local fields = {'used'}
for i = 1, #workers do fields[i + 1] = ARGV[3] .. workers[i] end
local leases = redis.call('HMGET', meta, unpack(fields))
local used = leases[1] or ''
local suspicions = hmget(suspects, workers)

-- Decide, without a write.
local looks, cleared, suspected, lost, set_back = {}, {}, {}, {}, {}
-- Behind all others, also where the clock is behind the looks of before.
local looked = math.max(now, tonumber(redis.call('ZRANGE', identities, -1, -1, 'WITHSCORES')[2] or 0) + 1)
for i = 1, #workers do
  local worker, suspicion = workers[i], suspicions[i]
  local ends, span = lease_of(leases[i + 1])
  ends = ends or 0
  looks[#looks + 1], looks[#looks + 2] = digits(looked), worker
  if suspicion == 'dead' then
    lost[#lost + 1] = worker
  elseif now < ends then
    -- Longer than it can be: the clock was set back. Counted anew from here, it ends no earlier than it was to, and the
    -- tasks of a dead worker do not wait until the clock is there again.
    if span and now + span < ends then
      set_back[#set_back + 1], set_back[#set_back + 2] = fields[i + 1], lease_text(span, now)
    end
    if suspicion then cleared[#cleared + 1] = worker end
  else
    local suspected_end, looked_at = string.match(suspicion or '', '^(%d+):(%d+)$')
    -- A look that is still to come is none.
    if suspected_end ~= digits(ends) or now < tonumber(looked_at) then
      suspected[#suspected + 1], suspected[#suspected + 2] = worker, digits(ends) .. ':' .. digits(now)
    elseif patience <= now - tonumber(looked_at) then
      lost[#lost + 1] = worker
      suspected[#suspected + 1], suspected[#suspected + 2] = worker, 'dead'
    end
  end
end

local taken, forgotten, more, room = {}, {}, 0, TAKEN_BYTES_MAX
for i = 1, #lost do
  local active, before = actives .. lost[i], #taken
  local held, left = redis.call('HLEN', active), TAKEN_MAX - before
  if 0 < held and 0 < left and 0 < room then
    local entries = redis.call('HRANDFIELD', active, left, 'WITHVALUES')
    for k = 1, #entries, 2 do
      room = room - redis.call('HSTRLEN', tasks, entries[k])
      if room < 0 and 0 < #taken then break end
      taken[#taken + 1] = {
        id = entries[k], mark = entries[k + 1], worker = lost[i], active = active,
        fence = tonumber(string.match(entries[k + 1], '^%d+')) or 0,
      }
    end
  end
  if held == #taken - before then
    forgotten[#forgotten + 1] = lost[i]
  else
    more = 1
    -- Looked at first the next time as well.
    looks[#looks + 1], looks[#looks + 2] = 0, lost[i]
  end
end

-- Oldest claim at the head: pushed backwards.
table.sort(taken, function(a, b)
  if a.fence ~= b.fence then return b.fence < a.fence end
  return b.id < a.id
end)
local ids = {}
for i = 1, #taken do ids[i] = taken[i].id end
local some_cancels = 0 < #taken and redis.call('EXISTS', cancels) == 1
local envelopes, known = hmget(tasks, ids), hmget(facts, ids)
local cancelled = some_cancels and redis.call('SMISMEMBER', cancels, unpack(ids)) or {}

local levels, facts_new, dead_new, reasons_new, gone, ended, outcomes = {}, {}, {}, {}, {}, {}, {}
local released, buried, taken_back, unique_gone, unique_dead, owing = 0, 0, {}, {}, {}, {}
local function bury(lost_one, count, envelope, about, kind, message)
  local id, record = lost_one.id, failure(kind, message)
  local run = cmsgpack.pack({
    attempt = attempts_of(envelope) + 1, losses = count, worker = lost_one.worker, host = about.h, pid = about.p,
    claimed_at = tonumber(string.match(lost_one.mark, '%d+$')),
  })
  if is_unique(envelope) then unique_dead[#unique_dead + 1] = id end
  buried = buried + 1
  dead_new[#dead_new + 1], dead_new[#dead_new + 2] = digits(now), id
  reasons_new[#reasons_new + 1], reasons_new[#reasons_new + 2] = id, record .. run
  ended[#ended + 1], outcomes[#outcomes + 1] = id, failed(record)
  if calls_back(envelope) then owing[#owing + 1], owing[#owing + 2] = digits(now), id end
end
local records, abouts, runs = {}, {}, {}
for i = 1, #lost do
  if 0 < #taken then abouts[lost[i]], runs[lost[i]] = report_of(reports, lost[i]) end
end
-- Backwards, as `taken` is: the ledger has the newest claim of a call first.
for i = #taken, 1, -1 do
  local id, worker, mark, became = ids[i], taken[i].worker, taken[i].mark, 'ready'
  local count = facts_of(known[i]).losses + 1
  if not envelopes[i] or cancelled[i] == 1 then
    became = 'gone'
  elseif acks_early(envelopes[i]) or losses_max <= count then
    became = 'dead'
  end
  records[#records + 1] = loss_record(id, worker, mark, now, count, became, abouts[worker], runs[worker][hex(id)])
end
for i = 1, #taken do
  local id, envelope = ids[i], envelopes[i]
  local about = abouts[taken[i].worker]
  local where = place_of(about)
  local mine = facts_of(known[i])
  mine.losses = mine.losses + 1
  if not envelope then
    gone[#gone + 1] = id
  elseif cancelled[i] == 1 then
    gone[#gone + 1] = id
    ended[#ended + 1], outcomes[#outcomes + 1] = id, CANCELLED
    taken_back[#taken_back + 1] = results .. hex(id)
    if is_unique(envelope) then unique_gone[#unique_gone + 1] = id end
  elseif acks_early(envelope) then
    bury(taken[i], mine.losses, envelope, about, 'abandoned', 'its worker ' .. taken[i].worker .. where
      .. ' was lost while it held this at-most-once task (claim ' .. taken[i].mark .. '): it may have run in part')
  elseif losses_max <= mine.losses then
    bury(taken[i], mine.losses, envelope, about, 'lost',
      mine.losses .. ' workers were lost while they held this task, the last one was '
      .. taken[i].worker .. where .. ' (claim ' .. taken[i].mark .. ')')
    facts_new[#facts_new + 1], facts_new[#facts_new + 2] = id, facts_text(mine)
  else
    released = released + 1
    facts_new[#facts_new + 1], facts_new[#facts_new + 2] = id, facts_text(mine)
    add_to_level(levels, level_of(envelope), id)
  end
end
local refusal = wrong_ready(levels, READY)
  or wrong_type({dead, 'zset', reasons, 'hash', cancels, 'set', waiting, 'hash', losses, 'list',
    locks, 'hash', callbacks, 'zset', reports, 'hash'})
if refusal then return refusal end

local letters = push('LPUSH', levels, READY)
if 0 < #facts_new then letters = letters .. 'f' end
if 0 < #owing then letters = letters .. 'c' end
used = remember(meta, used, letters)
write('HSET', facts, facts_new)
write('HSET', reasons, reasons_new)
write('ZADD', dead, dead_new)
write('ZADD', callbacks, owing)
-- Before any of them is cut, as that forgets which key it held.
let_go(locks, uniques, unique_dead)
local bytes = 0
for i = 2, #dead_new, 2 do bytes = bytes + size_of(tasks, reasons, dead_new[i]) end
count_dead_bytes(meta, bytes)
local cut = has(used, 'd') and cut_dead(now, meta, tasks, dead, reasons, facts, locks, callbacks)
if cut and cut[5] == 1 then more = 1 end
write('HDEL', tasks, gone)
write('HDEL', facts, gone)
if some_cancels then write('SREM', cancels, ids) end
let_go(locks, uniques, unique_gone)
write('HDEL', locks, unique_gone)
for i = 1, #taken do redis.call('HDEL', taken[i].active, ids[i]) end
for i = 1, #taken_back do redis.call('SET', taken_back[i], CANCELLED, 'PX', ARGV[6]) end

if 0 < #records then
  write('LPUSH', losses, records)
  redis.call('LTRIM', losses, 0, LOSSES_KEPT_MAX - 1)
end
write('HDEL', reports, forgotten)
write('ZADD', identities, looks)
write('HSET', meta, set_back)
write('HSET', suspects, suspected)
write('HDEL', suspects, cleared)
local ended_leases = {}
for i = 1, #lost do ended_leases[i] = ARGV[3] .. lost[i] end
write('HDEL', meta, ended_leases)
write('HDEL', suspects, forgotten)
write('ZREM', identities, forgotten)
if 0 < released then ring(bell) end
tell(waiting, channels, ended, outcomes)
local owed_since = has(used, 'c') and earliest(callbacks)
return {released, buried, more, owed_since and owed_since <= now and 1 or 0, records, cut or nil}

-- settle.lua   active -> gone | scheduled | ready | dead   (docs/architecture.md#lifecycle)
-- KEYS  1 Q:tasks   2 Q:active:W   3 Q:waiting   4 Q:facts   5 Q:cancels   6 Q:locks   7 Q:unique: (what all locks begin with)
--       unless every verdict is 'done' or 'kept':   8 Q:meta   9 Q:scheduled   10 Q:dead   11 Q:reasons   12 Q:bell
--       13 Q:result: (likewise, results)   14-23 Q:ready:0 to 9   24 Q:callbacks
--       last Q:result:ID, one for each id of 'kept', in their order
-- ARGV  1 now, '' for Redis's clock   2 position of the first Q:result:ID   3 what all channels begin with
--       4 ms for which a cancelled outcome is kept
--       5.. groups: fence mark, 'done' | 'kept' | 'retry' | 'park' | 'snooze' | 'release' | 'bury', span in ms (until it
--       is due; of 'kept' how long, at least 1; of 'bury' how many bytes of its record a sender is told), outcome of
--       'done', record of 'bury', the ids, 16 bytes each, as one argument; at most 1000 ids. 'kept' is done as well: there the outcomes follow, one for each id, which are kept
-- Reply positions of the ids that this worker does not hold by that fence; where dead letters were cut, {'cut', those
--       positions, what cut_dead answers}
local tasks, active, waiting, facts, cancels = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]
local locks, uniques = KEYS[6], KEYS[7]
local meta, scheduled, dead, reasons, bell, results = KEYS[8], KEYS[9], KEYS[10], KEYS[11], KEYS[12], KEYS[13]
local callbacks = KEYS[24]
local READY = 14
local result_at, channels = tonumber(ARGV[2]), ARGV[3]

local ids, verdicts, bodies, kept, n, at = {}, {}, {}, {}, 0, 5
while at < #ARGV do
  local verdict, body, group = {mark = ARGV[at], kind = ARGV[at + 1], span = ARGV[at + 2]}, ARGV[at + 3], ARGV[at + 4]
  local keeps = verdict.kind == 'kept'
  if keeps then verdict.kind = 'done' end
  at = at + 5
  for first = 1, #group, 16 do
    n = n + 1
    ids[n], verdicts[n], bodies[n] = string.sub(group, first, first + 15), verdict, body
    if keeps then
      bodies[n], kept[n] = ARGV[at], KEYS[result_at]
      at, result_at = at + 1, result_at + 1
    end
  end
end

local marks = hmget(active, ids)
local mine, mine_ids, stale, n_mine, all_done = {}, {}, {}, 0, true
for i = 1, n do
  if marks[i] == verdicts[i].mark then
    n_mine = n_mine + 1
    mine[n_mine], mine_ids[n_mine] = i, ids[i]
    if verdicts[i].kind ~= 'done' then all_done = false end
  else
    stale[#stale + 1] = i - 1
  end
end
if n_mine == 0 then return stale end

local some_waiting, some_facts, some_cancels, some_locks = false, false, false, false
if 0 < redis.call('EXISTS', waiting, facts, cancels, locks) then
  local refusal = wrong_type({waiting, 'hash', facts, 'hash', cancels, 'set', locks, 'hash'})
  if refusal then return refusal end
  some_waiting = redis.call('EXISTS', waiting) == 1
  some_facts = redis.call('EXISTS', facts) == 1
  some_cancels = redis.call('EXISTS', cancels) == 1
  some_locks = redis.call('EXISTS', locks) == 1
end
local cancelled = {}
if some_cancels then
  for first = 1, #mine_ids, CHUNK do
    local part = redis.call('SMISMEMBER', cancels, unpack(mine_ids, first, math.min(first + CHUNK - 1, #mine_ids)))
    for i = 1, #part do cancelled[first + i - 1] = part[i] == 1 end
  end
end

local cut
-- The tasks that end, and what is told of each.
local gone, buried, ended, outcomes = {}, {}, {}, {}
local function stop(id, outcome)
  if some_waiting then
    ended[#ended + 1] = id
    outcomes[#outcomes + 1] = outcome
  end
end

if all_done then
  if some_waiting then
    for k = 1, n_mine do stop(mine_ids[k], bodies[mine[k]]) end
  end
  write('HDEL', tasks, mine_ids)
  gone = mine_ids
else
  local now = now_of(ARGV[1])
  local refusal = wrong_type({scheduled, 'zset', dead, 'zset', reasons, 'hash', tasks, 'hash', meta, 'hash'})
  if refusal then return refusal end
  local rewrite = {}
  for k = 1, #mine do
    local kind = verdicts[mine[k]].kind
    if not cancelled[k] and (kind == 'retry' or kind == 'release') then rewrite[#rewrite + 1] = mine_ids[k] end
  end
  local levels, due, facts_new, dead_new, reasons_new = {}, {}, {}, {}, {}
  local counted, counted_alone, taken_back = {}, {}, {}
  local used = redis.call('HGET', meta, 'used') or ''
  local some_call_back, owing = has(used, 'c'), {}
  if some_call_back then refusal = wrong_type({callbacks, 'zset'}) end
  if refusal then return refusal end
  -- Large ones are read one by one, so that Redis's memory never holds a copy of all.
  local large = has(used, 'l')
  local envelopes, r = large and {} or hmget(tasks, rewrite), #rewrite
  -- Backwards, so that the first released one ends at the head.
  for k = #mine, 1, -1 do
    local i, id = mine[k], mine_ids[k]
    local verdict = verdicts[i]
    local kind = verdict.kind
    if kind == 'done' then
      gone[#gone + 1] = id
      stop(id, bodies[i])
    elseif cancelled[k] then
      gone[#gone + 1] = id
      stop(id, CANCELLED)
      taken_back[#taken_back + 1] = results .. hex(id)
    elseif kind == 'bury' then
      buried[#buried + 1] = id
      dead_new[#dead_new + 1], dead_new[#dead_new + 2] = digits(now), id
      reasons_new[#reasons_new + 1], reasons_new[#reasons_new + 2] = id, bodies[i]
      stop(id, failed(string.sub(bodies[i], 1, tonumber(verdict.span))))
      local envelope = some_call_back and redis.call('HGET', tasks, id)
      if envelope and calls_back(envelope) then owing[#owing + 1], owing[#owing + 2] = digits(now), id end
    elseif kind == 'park' or kind == 'snooze' then
      local known = facts_of(some_facts and redis.call('HGET', facts, id))
      if kind == 'snooze' then
        known.snoozes = known.snoozes + 1
      else
        if known.parks == 0 then known.since = now end
        known.parks = known.parks + 1
      end
      facts_new[#facts_new + 1], facts_new[#facts_new + 2] = id, facts_text(known)
      due[#due + 1], due[#due + 2] = digits(math.min(now + tonumber(verdict.span), MILLIS_MAX)), id
    else
      local envelope = envelopes[r]
      if large then envelope = redis.call('HGET', tasks, id) end
      r = r - 1
      if not envelope then
        gone[#gone + 1] = id
      elseif kind == 'retry' then
        if large then
          counted_alone[#counted_alone + 1] = id
        else
          counted[#counted + 1], counted[#counted + 2] = id, count_attempt(envelope)
        end
        due[#due + 1], due[#due + 2] = digits(math.min(now + tonumber(verdict.span), MILLIS_MAX)), id
      else
        add_to_level(levels, level_of(envelope), id)
      end
    end
  end
  refusal = wrong_ready(levels, READY)
  if refusal then return refusal end

  local head = earliest(scheduled)
  local letters = push('LPUSH', levels, READY)
  if 0 < #due then letters = letters .. 's' end
  if 0 < #facts_new then letters = letters .. 'f' end
  remember(meta, used, letters)
  write('HSET', tasks, counted)
  for i = 1, #counted_alone do
    local id = counted_alone[i]
    redis.call('HSET', tasks, id, count_attempt(redis.call('HGET', tasks, id)))
  end
  write('HSET', facts, facts_new)
  write('ZADD', scheduled, due)
  write('HSET', reasons, reasons_new)
  write('ZADD', dead, dead_new)
  write('ZADD', callbacks, owing)
  -- Before any of them is cut, as that forgets which key it held.
  if some_locks then let_go(locks, uniques, buried) end
  if 0 < #dead_new then
    local bytes = 0
    for i = 2, #dead_new, 2 do bytes = bytes + size_of(tasks, reasons, dead_new[i]) end
    count_dead_bytes(meta, bytes)
    if has(used, 'd') then cut = cut_dead(now, meta, tasks, dead, reasons, facts, locks, some_call_back and callbacks) end
  end
  write('HDEL', tasks, gone)
  for i = 1, #taken_back do redis.call('SET', taken_back[i], CANCELLED, 'PX', ARGV[4]) end
  if next(levels) or (0 < #due and (not head or earliest(scheduled) < head)) then ring(bell) end
end

if next(kept) then
  for k = 1, n_mine do
    local i = mine[k]
    if kept[i] then redis.call('SET', kept[i], bodies[i], 'PX', verdicts[i].span) end
  end
end
write('HDEL', active, mine_ids)
if some_facts then write('HDEL', facts, gone) end
if some_locks then
  let_go(locks, uniques, gone)
  write('HDEL', locks, gone)
end
if some_cancels then write('SREM', cancels, mine_ids) end
if some_waiting then tell(waiting, channels, ended, outcomes) end
if cut then return {'cut', stale, cut} end
return stale

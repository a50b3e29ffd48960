-- amend.lua   Changes schedules, each by itself: refused ones leave the others.
-- KEYS  1 B:meta   2 B:versions   3 B:records   4 B:wakes   5 B:names   6 B:outboxes   7 B:bell
--       8 B:outbox: (what all outboxes begin with)   9 B:history: (what all histories begin with)
-- ARGV  1 now, '' for Redis's clock   2 the epoch of a leader, or ''   3 most entries of an outbox   4 most of a history
--       5.. amendments, at most 1000: name, expected version or '', 'store' | 'remove', record, wake or '', how many
--       tasks, how many firings, then the tasks (queue, id, envelope, at most 1000 in all) and the firings, oldest first
-- Reply 'deposed' | for each amendment its version | 'conflict' | {'full', queue}
local meta, versions, records, wakes, names = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]
local outboxes, bell, outbox_of, history_of = KEYS[6], KEYS[7], KEYS[8], KEYS[9]
local epoch, OUTBOX_MAX, FIRINGS_MAX = ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4])

local settings = redis.call('HMGET', meta, 'number', 'epoch', 'large')
if epoch ~= '' and epoch ~= settings[2] then return 'deposed' end
local refusal = wrong_type({
  versions, 'hash', records, 'hash', wakes, 'zset', names, 'zset', outboxes, 'set',
})
if refusal then return refusal end

-- What is there, read before anything is decided: a key of the wrong type ends the script here.
local amendments, their_names, lens, at = {}, {}, {}, 5
while at < #ARGV do
  local n_sends, n_firings = tonumber(ARGV[at + 5]), tonumber(ARGV[at + 6])
  local amendment = {
    name = ARGV[at], expected = ARGV[at + 1], change = ARGV[at + 2], record = ARGV[at + 3], wake = ARGV[at + 4],
    sends_at = at + 7, firings_at = at + 7 + 3 * n_sends, ends_at = at + 7 + 3 * n_sends + n_firings,
  }
  amendments[#amendments + 1] = amendment
  their_names[#their_names + 1] = amendment.name
  for send = amendment.sends_at, amendment.firings_at - 1, 3 do
    local queue = ARGV[send]
    lens[queue] = lens[queue] or redis.call('LLEN', outbox_of .. queue)
  end
  if 0 < n_firings then redis.call('LLEN', history_of .. amendment.name) end
  at = amendment.ends_at
end
local current, found = {}, hmget(versions, their_names)
for i = 1, #their_names do current[their_names[i]] = found[i] or '' end

-- What becomes of each name in the end, of each outbox and each history.
local now = now_of(ARGV[1])
local number, large = last_number(settings[1], now), settings[3]
local stored, removed, fresh, outgoing, histories, answers = {}, {}, {}, {}, {}, {}
-- The earliest wake of those that neither send nor remember anything.
local unfired

local function without_room(amendment)
  local added = {}
  for send = amendment.sends_at, amendment.firings_at - 1, 3 do
    local queue = ARGV[send]
    added[queue] = (added[queue] or 0) + 1
    if OUTBOX_MAX < lens[queue] + added[queue] then return queue end
  end
end

local function send_all(amendment)
  for send = amendment.sends_at, amendment.firings_at - 1, 3 do
    local queue = ARGV[send]
    number = number + 1
    outgoing[queue] = outgoing[queue] or {}
    table.insert(outgoing[queue], struct.pack('>I8', number) .. ARGV[send + 1] .. ARGV[send + 2])
    lens[queue] = lens[queue] + 1
    if LARGE_BYTES < #ARGV[send + 2] then large = '1' end
  end
end

local function change(amendment)
  local name = amendment.name
  number = number + 1
  local version = digits(number)
  if amendment.change == 'remove' then
    stored[name], removed[name], histories[name], current[name] = nil, true, nil, ''
    return version
  end
  if current[name] == '' then fresh[name] = true end
  stored[name], current[name] = {version = version, record = amendment.record, wake = amendment.wake}, version
  local history = histories[name] or {}
  for firing = amendment.firings_at, amendment.ends_at - 1 do history[#history + 1] = ARGV[firing] end
  histories[name] = history
  if amendment.wake ~= '' and amendment.sends_at == amendment.ends_at then
    unfired = math.min(unfired or MILLIS_MAX, tonumber(amendment.wake))
  end
  return version
end

for i = 1, #amendments do
  local amendment = amendments[i]
  local full = without_room(amendment)
  if current[amendment.name] ~= amendment.expected then
    answers[i] = 'conflict'
  elseif full then
    answers[i] = {'full', full}
  else
    send_all(amendment)
    answers[i] = change(amendment)
  end
end
if not next(stored) and not next(removed) then return answers end

redis.call('HSET', meta, 'number', digits(number))
if large and not settings[3] then redis.call('HSET', meta, 'large', large) end
local gone = {}
for name in pairs(removed) do
  gone[#gone + 1] = name
  redis.call('DEL', history_of .. name)
end
write('HDEL', versions, gone)
write('HDEL', records, gone)
write('ZREM', wakes, gone)
write('ZREM', names, gone)

local new_versions, new_records, new_wakes, never, new_names = {}, {}, {}, {}, {}
for name, schedule in pairs(stored) do
  new_versions[#new_versions + 1], new_versions[#new_versions + 2] = name, schedule.version
  new_records[#new_records + 1], new_records[#new_records + 2] = name, schedule.record
  if schedule.wake == '' then
    never[#never + 1] = name
  else
    new_wakes[#new_wakes + 1], new_wakes[#new_wakes + 2] = schedule.wake, name
  end
  if fresh[name] then new_names[#new_names + 1], new_names[#new_names + 2] = 0, name end
end
write('HSET', versions, new_versions)
write('HSET', records, new_records)
write('ZREM', wakes, never)
write('ZADD', wakes, new_wakes)
write('ZADD', names, new_names)
for name, history in pairs(histories) do
  if 0 < #history then
    write('LPUSH', history_of .. name, history)
    redis.call('LTRIM', history_of .. name, 0, FIRINGS_MAX - 1)
  end
end
local queues = {}
for queue, entries in pairs(outgoing) do
  write('RPUSH', outbox_of .. queue, entries)
  queues[#queues + 1] = queue
end
write('SADD', outboxes, queues)
-- A leader knows what it has fired itself. What it changes besides, beside its loop, may be earlier than all to come.
if epoch == '' then
  ring(bell)
elseif unfired then
  local to_come = redis.call('ZRANGEBYSCORE', wakes, '(' .. digits(now), '+inf', 'WITHSCORES', 'LIMIT', 0, 1)[2]
  if unfired <= now or unfired == tonumber(to_come) then ring(bell) end
end
return answers

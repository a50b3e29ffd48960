-- enqueue.lua   -> ready | scheduled                    (docs/architecture.md#lifecycle)
-- KEYS  1 Q:meta   2 Q:tasks   3 Q:scheduled   4 Q:bell   5.. Q:ready:N, for the levels named in ARGV 2
-- ARGV  1 now, '' for Redis's clock   2 levels of the tasks, a digit each   3 division that the sender went by
--       4.. id, envelope, at most 1000 pairs, no id twice
-- Reply {'stored', positions of those that were there already} | {'full', len, bound} | {'malformed', position}
--       | {'moved', division of the queue}
local meta, tasks, scheduled, bell = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local byte = string.byte

local ids, n = {}, 0
for at = 4, #ARGV, 2 do
  n = n + 1
  ids[n] = ARGV[at]
  if #ARGV[at + 1] < HEADER_BYTES then return {'malformed', n - 1} end
end

local settings = redis.call('HMGET', meta, 'bound', 'used', 'partitions')
if (settings[3] or '') ~= ARGV[3] then return {'moved', settings[3] or ''} end
local stored = hmget(tasks, ids)
local duplicates = {}
for i = 1, n do
  if stored[i] then duplicates[#duplicates + 1] = i - 1 end
end
local fresh = n - #duplicates
if fresh == 0 then return {'stored', duplicates} end
local bound = tonumber(settings[1])
if bound then
  local len = redis.call('HLEN', tasks)
  if bound < len + fresh then return {'full', len, bound} end
end

local now, fields, due, ready, n_ready, used, callbacks = nil, {}, {}, {}, 0, '', ''
for i = 1, n do
  if not stored[i] then
    local envelope, start = ARGV[2 * i + 3], nil
    -- Flag 1 is the early ack.
    if 1 < byte(envelope, 2) then
      now = now or now_of(ARGV[1])
      if calls_back(envelope) then callbacks = 'c' end
      envelope, start = pin(envelope, now)
    end
    if LARGE_BYTES < #envelope then used = 'l' end
    fields[#fields + 1] = ids[i]
    fields[#fields + 1] = envelope
    if start and now < start then
      due[#due + 1] = digits(start)
      due[#due + 1] = ids[i]
    else
      n_ready = n_ready + 1
      add_to_level(ready, level_of(envelope), ids[i])
    end
  end
end

local pushes = {}
for level, list in pairs(ready) do
  pushes[#pushes + 1] = {KEYS[4 + string.find(ARGV[2], level, 1, true)], list, level}
end
local head
if 0 < #due then head = earliest(scheduled) end
-- One list alone is pushed to first, which refuses by itself.
if 1 < #pushes or 0 < #due then
  for i = 1, #pushes do
    local refusal = wrong_type({pushes[i][1], 'list'})
    if refusal then return refusal end
  end
end

for i = 1, #pushes do
  write('RPUSH', pushes[i][1], pushes[i][2])
  used = used .. pushes[i][3]
end
write('HSET', tasks, fields)
if 0 < #due then
  write('ZADD', scheduled, due)
  used = used .. 's'
end
remember(meta, settings[2] or '', used .. callbacks)
if 0 < n_ready or (0 < #due and (not head or earliest(scheduled) < head)) then ring(bell) end
return {'stored', duplicates}

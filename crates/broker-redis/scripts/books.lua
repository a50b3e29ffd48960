-- books.lua   Compares what a queue says of itself with what is there.
-- KEYS  1 Q:meta   2 Q:tasks   3 Q:identities   4 Q:scheduled   5 Q:dead   6 Q:ghosts   7 Q:reasons   8 Q:facts
--       9-18 Q:ready:0 to 9   19 Q:active: (what all processing lists begin with)
-- ARGV  1 'look' | 'repair'   2 what the fields of leases in Q:meta begin with   3.. workers that may not be registered
-- Reply {envelopes, tasks in all places or -1, bytes of the dead by the account, bytes of the dead or -1, letters that
--       `used` lacks, workers with a lease and no identity or -1}: -1 where there is more than one call goes through
local meta, tasks, identities, scheduled, dead, ghosts = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5], KEYS[6]
local reasons, facts, actives = KEYS[7], KEYS[8], KEYS[19]
local FIRST_READY, COUNTED_MAX, FIELDS_MAX = 9, 1000, 2000
local repair, lease_fields = ARGV[1] == 'repair', ARGV[2]

local account = redis.call('HMGET', meta, 'used', 'dead_bytes')
local used, said = account[1] or '', tonumber(account[2]) or 0

local workers, known = redis.call('ZRANGE', identities, 0, -1), {}
for i = 1, #workers do known[workers[i]] = true end
for i = 3, #ARGV do
  if not known[ARGV[i]] then workers[#workers + 1] = ARGV[i] end
end
local placed, missing = redis.call('ZCARD', scheduled) + redis.call('ZCARD', dead), ''
for i = 1, #workers do placed = placed + redis.call('HLEN', actives .. workers[i]) end
for level = 0, 9 do
  local len = redis.call('LLEN', KEYS[FIRST_READY + level])
  placed = placed + len
  if 0 < len and not has(used, level) then missing = missing .. level end
end
local places = {{'s', redis.call('ZCARD', scheduled)}, {'g', redis.call('HLEN', ghosts)}, {'f', redis.call('HLEN', facts)}}
for i = 1, #places do
  if 0 < places[i][2] and not has(used, places[i][1]) then missing = missing .. places[i][1] end
end
if places[2][2] <= COUNTED_MAX then
  local counts = redis.call('HVALS', ghosts)
  for i = 1, #counts do placed = placed - (tonumber(counts[i]) or 0) end
  placed = math.max(placed, 0)
else
  placed = -1
end

local bytes = -1
if redis.call('ZCARD', dead) <= COUNTED_MAX then
  bytes = 0
  local ids = redis.call('ZRANGE', dead, 0, -1)
  for i = 1, #ids do bytes = bytes + size_of(tasks, reasons, ids[i]) end
end

local strays = -1
if redis.call('HLEN', meta) <= FIELDS_MAX then
  strays = {}
  local fields = redis.call('HKEYS', meta)
  for i = 1, #fields do
    if string.sub(fields[i], 1, #lease_fields) == lease_fields then
      local worker = string.sub(fields[i], #lease_fields + 1)
      if not known[worker] then strays[#strays + 1] = worker end
    end
  end
end

local reply = {redis.call('HLEN', tasks), placed, digits(said), digits(bytes), missing, strays}
if not repair then return reply end
remember(meta, used, missing)
if 0 <= bytes and bytes ~= said then redis.call('HSET', meta, 'dead_bytes', digits(bytes)) end
if strays ~= -1 then
  for i = 1, #strays do redis.call('HDEL', meta, lease_fields .. strays[i]) end
end
return reply

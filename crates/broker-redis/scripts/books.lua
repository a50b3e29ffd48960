-- books.lua   Compares what a queue says of itself with what is there.
-- KEYS  1 Q:meta   2 Q:tasks   3 Q:identities   4 Q:scheduled   5 Q:dead   6 Q:ghosts   7 Q:reasons   8 Q:facts
--       9-18 Q:ready:0 to 9   19 Q:locks   20 Q:callbacks   21 Q:losses   22 Q:reports   23 Q:suspects
--       24 Q:active: (what all processing lists begin with)
-- ARGV  1 now, '' for Redis's clock   2 'look' | 'repair'   3 what the fields of leases in Q:meta begin with
--       4 ms by which a callback may be put off   5.. workers that may not be registered
-- Reply {envelopes, tasks in all places or -1, bytes of the dead by the account, bytes of the dead or -1, letters that
--       `used` lacks, workers with a lease and no identity or -1, fields of Q:reports and Q:suspects without an identity or
--       -1, losses beyond those that are kept, callbacks that are put off too far}: -1 where there is more than one call
--       goes through
local meta, tasks, identities, scheduled, dead, ghosts = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5], KEYS[6]
local reasons, facts, locks, callbacks, losses = KEYS[7], KEYS[8], KEYS[19], KEYS[20], KEYS[21]
local reports, suspects, actives = KEYS[22], KEYS[23], KEYS[24]
local FIRST_READY, COUNTED_MAX, FIELDS_MAX = 9, 1000, 2000
local now, repair, lease_fields = now_of(ARGV[1]), ARGV[2] == 'repair', ARGV[3]

local account = redis.call('HMGET', meta, 'used', 'dead_bytes', 'retention')
local used, said = account[1] or '', tonumber(account[2]) or 0

local workers, known = redis.call('ZRANGE', identities, 0, -1), {}
for i = 1, #workers do known[workers[i]] = true end
for i = 5, #ARGV do
  if not known[ARGV[i]] then workers[#workers + 1] = ARGV[i] end
end
local placed, missing = redis.call('ZCARD', scheduled) + redis.call('ZCARD', dead), ''
for i = 1, #workers do placed = placed + redis.call('HLEN', actives .. workers[i]) end
for level = 0, 9 do
  local len = redis.call('LLEN', KEYS[FIRST_READY + level])
  placed = placed + len
  if 0 < len and not has(used, level) then missing = missing .. level end
end
local rare = {
  s = redis.call('ZCARD', scheduled), g = redis.call('HLEN', ghosts), f = redis.call('HLEN', facts),
  u = redis.call('HLEN', locks), c = redis.call('ZCARD', callbacks), d = account[3] and 1 or 0,
}
for letter, len in pairs(rare) do
  if 0 < len and not has(used, letter) then missing = missing .. letter end
end
if rare.g <= COUNTED_MAX then
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

-- The workers of the fields that begin so, if they are not registered; -1 if there are too many fields.
local function strays_of(begin, ...)
  local strays = {}
  for _, key in ipairs({...}) do
    if FIELDS_MAX < redis.call('HLEN', key) then return -1 end
    local fields = redis.call('HKEYS', key)
    for i = 1, #fields do
      local worker = string.sub(fields[i], #begin + 1)
      if string.sub(fields[i], 1, #begin) == begin and not known[worker] then strays[#strays + 1] = worker end
    end
  end
  return strays
end
local leases, notes = strays_of(lease_fields, meta), strays_of('', reports, suspects)
local beyond = math.max(redis.call('LLEN', losses) - LOSSES_KEPT_MAX, 0)
local latest = digits(now + tonumber(ARGV[4]))
local put_off = redis.call('ZCOUNT', callbacks, '(' .. latest, '+inf')

local reply = {redis.call('HLEN', tasks), placed, digits(said), digits(bytes), missing, leases, notes, beyond, put_off}
if not repair then return reply end
remember(meta, used, missing)
if 0 <= bytes and bytes ~= said then redis.call('HSET', meta, 'dead_bytes', digits(bytes)) end
for i = 1, leases ~= -1 and #leases or 0 do redis.call('HDEL', meta, lease_fields .. leases[i]) end
if notes ~= -1 then
  write('HDEL', reports, notes)
  write('HDEL', suspects, notes)
end
if 0 < beyond then redis.call('LTRIM', losses, 0, LOSSES_KEPT_MAX - 1) end
if 0 < put_off then
  local owed = redis.call('ZRANGEBYSCORE', callbacks, '(' .. latest, '+inf', 'LIMIT', 0, COUNTED_MAX)
  for i = 1, #owed do redis.call('ZADD', callbacks, digits(now), owed[i]) end
end
return reply

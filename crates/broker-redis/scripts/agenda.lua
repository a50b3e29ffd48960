-- agenda.lua   Finds schedules of which only parts are there.
-- KEYS  1 B:versions   2 B:records   3 B:wakes   4 B:names   5 B:history: (what all histories begin with)
-- ARGV  1 'look' | 'repair'   2 how many entries a history keeps   3.. names, at most 200
-- Reply for each that is not whole: name, what is wrong, 1 if that was repaired
local versions, records, wakes, names, histories = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]
local repair, entries_max = ARGV[1] == 'repair', tonumber(ARGV[2])

local refusal = wrong_type({versions, 'hash', records, 'hash', wakes, 'zset', names, 'zset'})
if refusal then return refusal end
local found = {}
local function say(name, what, repaired)
  found[#found + 1], found[#found + 2], found[#found + 3] = name, what, repaired and 1 or 0
end

for i = 3, #ARGV do
  local name = ARGV[i]
  local record, listed = redis.call('HEXISTS', records, name) == 1, redis.call('ZSCORE', names, name)
  if redis.call('HEXISTS', versions, name) == 1 then
    if not record then say(name, 'it has no record: remove it, or store it again', false) end
    if not listed then
      say(name, 'it is not among the names', repair)
      if repair then redis.call('ZADD', names, 0, name) end
    end
    local entries = redis.pcall('LLEN', histories .. name)
    if type(entries) == 'number' and entries_max < entries then
      say(name, 'its history has ' .. entries .. ' entries, more than are ever kept', repair)
      if repair then redis.call('LTRIM', histories .. name, 0, entries_max - 1) end
    end
  else
    local history = histories .. name
    if record or listed or redis.call('ZSCORE', wakes, name) or redis.call('EXISTS', history) == 1 then
      say(name, 'it was removed, and parts of it are there', repair)
      if repair then
        redis.call('HDEL', records, name)
        redis.call('ZREM', wakes, name)
        redis.call('ZREM', names, name)
        redis.call('DEL', history)
      end
    end
  end
end
return found

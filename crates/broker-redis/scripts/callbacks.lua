-- callbacks.lua   Shows dead tasks whose callback is owed, and shows them to nobody else for a while.
-- KEYS  1 Q:callbacks   2 Q:dead   3 Q:tasks   4 Q:reasons   5 Q:facts
-- ARGV  1 now, '' for Redis's clock   2 max, 1 to 1000   3 ms for which nobody else is shown them
-- Reply, shorter than max where the envelopes are large, {ids and times of death, failure records, envelopes, facts}
local callbacks, dead, tasks, reasons, facts = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]
local BYTES_MAX = 8 * 1024 * 1024
local now = now_of(ARGV[1])

local found = redis.call('ZRANGEBYSCORE', callbacks, '-inf', digits(now), 'LIMIT', 0, tonumber(ARGV[2]))
local ids, deaths, none = {}, {}, {}
for i = 1, #found do
  local died_at = redis.call('ZSCORE', dead, found[i])
  if died_at then
    ids[#ids + 1] = found[i]
    deaths[#deaths + 1], deaths[#deaths + 2] = found[i], died_at
  else
    none[#none + 1] = found[i]
  end
end
if 0 < #ids then
  for i = #ids, math.max(that_fit(tasks, ids, BYTES_MAX), 1) + 1, -1 do
    ids[i], deaths[2 * i - 1], deaths[2 * i] = nil, nil, nil
  end
end
local reply = {deaths, hmget(reasons, ids), hmget(tasks, ids), hmget(facts, ids)}

local until_ms, later = digits(now + tonumber(ARGV[3])), {}
for i = 1, #ids do later[2 * i - 1], later[2 * i] = until_ms, ids[i] end
write('ZADD', callbacks, later)
write('ZREM', callbacks, none)
return reply

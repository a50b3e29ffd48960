-- lead.lua   Takes or keeps the lead, and reads what a leader must look at.
-- KEYS  1 B:meta   2 B:versions   3 B:records   4 B:wakes   5 B:outboxes
-- ARGV  1 now, '' for Redis's clock   2 the beat   3 ms for which it leads from now on   4 max, 1 to 1000
-- Reply {'standby', the leader, its epoch, when its lease ends, now}
--       | {'held', epoch, now, ms until the next wake or -1, queues, names and wakes of what is due, versions, records};
--       a missing version or record is false
local meta, versions, records, wakes, outboxes = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]
local OUTBOXES_MAX, BYTES_MAX = 1000, 8 * 1024 * 1024
local beat, max = ARGV[2], tonumber(ARGV[4])

local now = now_of(ARGV[1])
local settings = redis.call('HMGET', meta, 'leader', 'epoch', 'lease', 'renewed', 'number')
local leader, epoch, lease_end = settings[1], settings[2], end_of_lease(settings[3], settings[4], now)
local keeps = leader == beat and epoch
if leader and not keeps and now < lease_end then
  return {'standby', leader, epoch or '0', digits(lease_end), digits(now)}
end

local due = redis.call('ZRANGEBYSCORE', wakes, '-inf', digits(now), 'WITHSCORES', 'LIMIT', 0, max)
local names = {}
for i = 1, #due, 2 do names[#names + 1] = due[i] end
for i = #names, math.max(that_fit(records, names, BYTES_MAX), 1) + 1, -1 do
  names[i], due[2 * i - 1], due[2 * i] = nil, nil, nil
end
local their_versions, their_records = hmget(versions, names), hmget(records, names)
local next_wake = tonumber(redis.call('ZRANGE', wakes, #names, #names, 'WITHSCORES')[2])
-- Which ones, where there are more, is left to chance: full queues must not keep the others from their turn.
local queues = redis.call('SRANDMEMBER', outboxes, OUTBOXES_MAX)

redis.call('HSET', meta, 'lease', digits(now + tonumber(ARGV[3])), 'renewed', digits(now))
if not keeps then
  epoch = digits(last_number(settings[5], now) + 1)
  redis.call('HSET', meta, 'leader', beat, 'epoch', epoch, 'number', epoch)
end
for i = 1, #names do
  if not their_versions[i] then redis.call('ZREM', wakes, names[i]) end
end
next_wake = next_wake and digits(math.max(next_wake - now, 0)) or -1
return {'held', epoch, digits(now), next_wake, queues, due, their_versions, their_records}

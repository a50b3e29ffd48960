-- forward.lua   outbox -> ready | scheduled                (docs/decisions/007)
-- Stores, by the code of enqueue.lua, which is the function `enqueue` here, what the queue has not seen.
-- KEYS  those of enqueue.lua, or of enqueue_unique.lua where a task is unique, and behind them Q:dead, Q:reasons
-- ARGV  1 now, '' for Redis's clock   2 levels of the tasks, a digit each   3 division that the sender went by
--       4 highest number that the queue had seen when it was divided   5.. number, id, envelope, lock or '' (as
--       enqueue_unique.lua has it, and is UNIQUE if there is any), at most 1000
-- Reply {'stored', how many, how many others were known} | {'full', len, bound} | {'moved', division of the queue}
local meta, tasks, dead, reasons = KEYS[1], KEYS[2], KEYS[5 + #ARGV[2]], KEYS[6 + #ARGV[2]]

local settings = redis.call('HMGET', meta, 'forwarded', 'partitions')
if (settings[2] or '') ~= ARGV[3] then return {'moved', settings[2] or ''} end
local mark = math.max(tonumber(settings[1]) or 0, tonumber(ARGV[4]))
local highest, known, seen, short, sent = mark, 0, {}, {}, {ARGV[1], ARGV[2], ARGV[3]}
for at = 5, #ARGV, 4 do
  local number, id, envelope = tonumber(ARGV[at]), ARGV[at + 1], ARGV[at + 2]
  highest = math.max(highest, number)
  local is_short = #envelope < HEADER_BYTES
  if number <= mark or seen[id] or (is_short and redis.call('HEXISTS', tasks, id) == 1) then
    known = known + 1
  elseif is_short then
    short[#short + 1], short[#short + 2] = id, envelope
  else
    sent[#sent + 1], sent[#sent + 2] = id, envelope
    if UNIQUE then sent[#sent + 1], sent[#sent + 2] = ARGV[at + 3], '' end
  end
  if mark < number then seen[id] = true end
end
if highest == mark then return {'stored', 0, known} end

if 0 < #short then
  local refusal = wrong_type({dead, 'zset', reasons, 'hash'})
  if refusal then return refusal end
end
local answer = enqueue(sent)
if answer.err or answer[1] ~= 'stored' then return answer end
-- Refused, one of them would hold up all that is behind it for ever.
local bytes = 0
for i = 1, #short, 2 do
  local record = cmsgpack.pack({
    kind = 'malformed', message = 'an envelope of ' .. #short[i + 1] .. ' bytes is shorter than its fixed part',
  })
  redis.call('HSET', tasks, short[i], short[i + 1])
  redis.call('ZADD', dead, digits(now_of(ARGV[1])), short[i])
  redis.call('HSET', reasons, short[i], record)
  bytes = bytes + #short[i + 1] + #record
end
count_dead_bytes(meta, bytes)
redis.call('HSET', meta, 'forwarded', digits(highest))
return {'stored', (#sent - 3) / (UNIQUE and 4 or 2) + #short / 2 - #answer[2], known + #answer[2]}

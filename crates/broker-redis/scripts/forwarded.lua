-- forwarded.lua   Takes what was forwarded out of an outbox.
-- KEYS  1 B:outbox:QUEUE   2 B:outboxes   3 B:meta
-- ARGV  1 the queue   2 the number up to which it was forwarded
-- Reply 'more' | 'empty'
local outbox, outboxes, meta = KEYS[1], KEYS[2], KEYS[3]
local queue, up_to = ARGV[1], tonumber(ARGV[2])

local refusal = wrong_type({outboxes, 'set'})
if refusal then return refusal end
local settings = redis.call('HMGET', meta, 'large', 'number')
local large, last = settings[1], last_given(settings[2])
local done, ends = 0, false
while not ends do
  local entries = some_entries(outbox, done, CHUNK, large)
  ends = #entries == 0
  for i = 1, #entries do
    local number = number_of(entries[i], last)
    -- What has no number is left to outbox.lua.
    if not number or up_to < number then
      ends = true
      break
    end
    done = done + 1
  end
end

if 0 < done then redis.call('LTRIM', outbox, done, -1) end
if redis.call('EXISTS', outbox) == 1 then return 'more' end
redis.call('SREM', outboxes, queue)
return 'empty'

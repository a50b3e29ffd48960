-- outbox.lua   Shows what waits to be forwarded to a queue.
-- KEYS  1 B:outbox:QUEUE   2 B:outboxes   3 B:meta
-- ARGV  1 the queue   2 max, 1 to 1000
-- Reply {entries, fewer where they are large, how many were rubbish and are dropped}
local outbox, outboxes, meta = KEYS[1], KEYS[2], KEYS[3]
local BYTES_MAX = 8 * 1024 * 1024
local queue, max = ARGV[1], tonumber(ARGV[2])

local refusal = wrong_type({outboxes, 'set'})
if refusal then return refusal end
local settings = redis.call('HMGET', meta, 'large', 'number')
local large, last = settings[1], last_given(settings[2])
local found, rubbish, bytes, read, fits, highest = {}, {}, 0, 0, true, -1
while fits and read < max do
  local entries = some_entries(outbox, read, max - read, large)
  if #entries == 0 then break end
  for i = 1, #entries do
    local entry = entries[i]
    local number = number_of(entry, last)
    -- A page is taken out up to its last number once it was forwarded: that must be its highest one.
    fits = fits and (not number or highest < number) and (#found == 0 or bytes + #entry <= BYTES_MAX)
    if fits and number then
      bytes, highest = bytes + #entry, number
      found[#found + 1] = entry
    elseif fits then
      rubbish[#rubbish + 1] = entry
    end
  end
  read = read + #entries
end

-- No caller could forward it: it has neither a number nor an id.
for i = 1, #rubbish do redis.call('LREM', outbox, 1, rubbish[i]) end
if #found == 0 and redis.call('EXISTS', outbox) == 0 then redis.call('SREM', outboxes, queue) end
return {found, #rubbish}

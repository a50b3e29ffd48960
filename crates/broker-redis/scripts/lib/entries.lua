-- entries.lua   The entries of an outbox: number, 8 bytes, big-endian; task id, 16 bytes; envelope.

local ENTRY_HEAD_BYTES = 24

-- nil for what somebody pushed by hand.
local function number_of(entry)
  if #entry < ENTRY_HEAD_BYTES then return nil end
  return (struct.unpack('>I8', entry))
end

-- Entries from position `first` on, some of the next `n`; none behind the last one. Where there may be large ones it is
-- one, so that Redis's memory never holds a copy of all.
local function some_entries(outbox, first, n, large)
  if large then n = 1 end
  return redis.call('LRANGE', outbox, first, first + math.min(n, CHUNK) - 1)
end

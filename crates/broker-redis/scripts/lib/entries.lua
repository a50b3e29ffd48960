-- entries.lua   The entries of an outbox: number, 8 bytes, big-endian; task id, 16 bytes; envelope.

local ENTRY_HEAD_BYTES = 24

-- The last number that was given. Without the counter it is not known: any that a Lua number holds exactly.
local function last_given(counter)
  return tonumber(counter) or 9007199254740991
end

-- nil for what somebody pushed by hand: too short, or with a number that was never given. A queue that had seen such a
-- one would take none of those that are given from now on.
local function number_of(entry, last)
  if #entry < ENTRY_HEAD_BYTES then return nil end
  local number = struct.unpack('>I8', entry)
  if number <= last then return number end
end

-- Entries from position `first` on, some of the next `n`; none behind the last one. Where there may be large ones it is
-- one, so that Redis's memory never holds a copy of all.
local function some_entries(outbox, first, n, large)
  if large then n = 1 end
  return redis.call('LRANGE', outbox, first, first + math.min(n, CHUNK) - 1)
end

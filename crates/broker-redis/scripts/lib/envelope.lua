-- envelope.lua   The fixed part of an envelope (docs/protocol.md). Nothing here reads the MessagePack behind it.

local HEADER_BYTES = 38
-- A thousand that are no larger can be read at once without a look at their sizes.
local LARGE_BYTES = 8192
local MILLIS_MAX = 9007199254740991

local function level_of(envelope)
  local level = string.byte(envelope, 3) or 5
  if 9 < level then return 9 end
  return level
end

local function acks_early(envelope)
  return (string.byte(envelope, 2) or 0) % 2 == 1
end

-- Whether something is to be sent when the task has failed for good: flag 64.
local function calls_back(envelope)
  return 64 <= (string.byte(envelope, 2) or 0) % 128
end

local function instant_at(envelope, at)
  return math.min(struct.unpack('>I8', envelope, at), MILLIS_MAX)
end

-- Makes spans into instants counted from `now`. Answers the envelope and its start, if it has one.
local function pin(envelope, now)
  local flags = string.byte(envelope, 2)
  local start, expires = instant_at(envelope, 23), instant_at(envelope, 31)
  if bit.band(flags, 4 + 16) ~= 0 then
    if bit.band(flags, 4) ~= 0 then start = math.min(now + start, MILLIS_MAX) end
    if bit.band(flags, 16) ~= 0 then expires = math.min(now + expires, MILLIS_MAX) end
    envelope = string.sub(envelope, 1, 1)
      .. string.char(bit.band(flags, 255 - 4 - 16))
      .. string.sub(envelope, 3, 22)
      .. struct.pack('>I8I8', start, expires)
      .. string.sub(envelope, 39)
  end
  if bit.band(flags, 2) == 0 then start = nil end
  return envelope, start
end

-- Bytes that somebody pushed by hand may be shorter than the fixed part: those stay as they are.
local function with_attempts(envelope, attempts)
  if #envelope < 6 then return envelope end
  return string.sub(envelope, 1, 4) .. struct.pack('>I2', attempts) .. string.sub(envelope, 7)
end

local function attempts_of(envelope)
  if #envelope < 6 then return 0 end
  return (struct.unpack('>I2', envelope, 5))
end

local function count_attempt(envelope)
  if #envelope < 6 then return envelope end
  return with_attempts(envelope, math.min(attempts_of(envelope) + 1, 65535))
end

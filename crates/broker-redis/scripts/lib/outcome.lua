-- outcome.lua   Telling and keeping how a task ended (docs/protocol.md, "Results").

local CANCELLED = '\161c'
-- A failure's outcome is its record under the key "f".
local function failed(record)
  return '\129\161f' .. record
end

local function failure(kind, message)
  return '\130\164kind' .. cmsgpack.pack(kind) .. '\167message' .. cmsgpack.pack(message)
end

local function hex(bytes)
  return (string.gsub(bytes, '.', function(byte) return string.format('%02x', string.byte(byte)) end))
end

-- Tells whoever waits: `outcomes` has one for each of `ids`. A waiter is the 32 digits of a handle. A user that may not
-- publish must not end a transition in the middle: whoever waits asks again by itself.
local function tell(waiting, channels, ids, outcomes)
  if #ids == 0 then return end
  local waiters, told = hmget(waiting, ids), {}
  for i = 1, #ids do
    if waiters[i] then
      for handle in string.gmatch(waiters[i], string.rep('%x', 32)) do
        redis.pcall('PUBLISH', channels .. handle, ids[i] .. outcomes[i])
      end
      told[#told + 1] = ids[i]
    end
  end
  write('HDEL', waiting, told)
end

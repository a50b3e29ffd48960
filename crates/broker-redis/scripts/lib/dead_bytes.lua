-- dead_bytes.lua   The account of the bytes that dead letters take.

local function size_of(tasks, reasons, id)
  return redis.call('HSTRLEN', tasks, id) + redis.call('HSTRLEN', reasons, id)
end

-- `change` is negative for what is dead no more. Not HINCRBY: what somebody wrote there by hand must not end a script
-- in the middle.
local function count_dead_bytes(meta, change)
  if change == 0 then return end
  local bytes = tonumber(redis.call('HGET', meta, 'dead_bytes')) or 0
  redis.call('HSET', meta, 'dead_bytes', digits(math.max(bytes + change, 0)))
end

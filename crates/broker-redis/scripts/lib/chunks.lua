-- chunks.lua   Commands with many arguments, a bounded number at a time: unpack of more than some thousands fails.

local CHUNK = 200

local function hmget(key, fields)
  local n = #fields
  if n == 0 then return {} end
  if n <= CHUNK then return redis.call('HMGET', key, unpack(fields)) end
  local values = {}
  for first = 1, n, CHUNK do
    local part = redis.call('HMGET', key, unpack(fields, first, math.min(first + CHUNK - 1, n)))
    for i = 1, #part do values[first + i - 1] = part[i] end
  end
  return values
end

-- How many of `fields`, from the first on, have values of at most `bytes_max` bytes together, and how many those are.
-- What is read is copied in Redis's memory, and Redis does nothing else meanwhile.
local function that_fit(key, fields, bytes_max)
  local bytes = 0
  for i = 1, #fields do
    local with = bytes + redis.call('HSTRLEN', key, fields[i])
    if bytes_max < with then return i - 1, bytes end
    bytes = with
  end
  return #fields, bytes
end

-- `args` may be pairs: CHUNK is even.
local function write(command, key, args)
  local n = #args
  for first = 1, n, CHUNK do
    redis.call(command, key, unpack(args, first, math.min(first + CHUNK - 1, n)))
  end
end

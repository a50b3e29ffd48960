-- now.lua   Redis's clock in milliseconds, or the instant that a test chose.

local function now_of(override)
  if override ~= '' then return tonumber(override) end
  local time = redis.call('TIME')
  return time[1] * 1000 + math.floor(time[2] / 1000)
end

-- Lua prints 14 digits by default; instants and fences have up to 16.
local function digits(number)
  return string.format('%.0f', number)
end

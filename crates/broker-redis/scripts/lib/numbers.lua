-- numbers.lua   The counter of claims (docs/fencing.md), and that of epochs, versions and outgoing tasks (docs/decisions/007).

-- Beyond this instant the counter grows by one at a time: a Lua number is exact up to 2^53.
local INSTANTS_MAX = 4503599627370496

-- The last number given. With the instant in it, the next one is higher also where a failover took the counter back.
local function last_number(counter, now)
  return math.max(tonumber(counter) or 0, math.min(1000 * now, INSTANTS_MAX) - 1)
end

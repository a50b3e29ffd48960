-- lease.lua   The lease of the beat that leads.

-- Where Redis's clock has gone back behind the last renewal, by an hour say, nobody knows how long the lease lasts: it
-- has ended then. A leader that lives loses its epoch by that, and nothing else; of one that has died the schedules
-- would wait for the clock.
local function end_of_lease(lease, renewed, now)
  if now < (tonumber(renewed) or 0) then return now end
  return tonumber(lease) or 0
end

-- lease.lua   The leases of workers, and of the beat that leads.

-- When a worker's lease ends, and the span that it had at its last renewal; nil where there is none.
local function lease_of(text)
  local ends, span = string.match(text or '', '^(%d+):?(%d*)$')
  return tonumber(ends), tonumber(span)
end

local function lease_text(span, now)
  return digits(math.min(now + span, MILLIS_MAX)) .. ':' .. digits(span)
end

-- Where Redis's clock has gone back behind the last renewal, by an hour say, nobody knows how long the lease lasts: it
-- has ended then. A leader that lives loses its epoch by that, and nothing else; of one that has died the schedules
-- would wait for the clock.
local function end_of_lease(lease, renewed, now)
  if now < (tonumber(renewed) or 0) then return now end
  return tonumber(lease) or 0
end

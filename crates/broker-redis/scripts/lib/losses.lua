-- losses.lua   The ledger of what was lost with its worker (docs/protocol.md, "Reports and losses").

local LOSSES_KEPT_MAX = 1000

-- What the worker last said, in fields of its own: `about` for what it is, `runs` by the ids of its tasks. Whatever it
-- wrote must not end a script.
local function report_of(reports, worker)
  local about, runs = {}, {}
  local at, bytes = string.match(redis.call('HGET', reports, worker) or '', '^(%d+):(.*)$')
  local read, report = pcall(cmsgpack.unpack, bytes or '')
  if not read or type(report) ~= 'table' then return about, runs end
  about.s = tonumber(at)
  for field, kind in pairs({n = 'string', h = 'string', p = 'number', v = 'string', b = 'string', m = 'number'}) do
    if type(report[field]) == kind then about[field] = report[field] end
  end
  if type(report.t) == 'table' then
    for i = 1, #report.t do
      local run = report.t[i]
      if type(run) == 'table' and type(run.i) == 'string' then runs[run.i] = run end
    end
  end
  return about, runs
end

-- Where a worker was, for the reason of a dead letter.
local function place_of(about)
  if not about.h then return '' end
  local build = about.b and ', build ' .. about.b or ''
  return string.format(' on host %s, pid %s%s', about.h, digits(about.p or 0), build)
end

local function loss_record(id, worker, mark, now, losses, became, about, run)
  local record = {i = hex(id), w = worker, f = mark, l = now, x = losses, o = became}
  for field, value in pairs(about) do record[field] = value end
  if run then
    if type(run.t) == 'string' then record.t = run.t end
    if type(run.r) == 'number' then record.r = run.r end
    local note = type(run.g)
    if note == 'string' or (note == 'table' and #run.g == 2) then record.g = run.g end
  end
  return cmsgpack.pack(record)
end

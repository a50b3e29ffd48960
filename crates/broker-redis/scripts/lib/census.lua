-- census.lua   All that a queue holds of a task, as one text: what was decided by it is done only while it is the same.
-- A script that takes it has KEYS  1 Q:tasks   2 Q:scheduled   3 Q:dead   4 Q:facts   5 Q:reasons   6 Q:waiting
--       7 Q:cancels   8 Q:ghosts   9-18 Q:ready:0 to 9   19 Q:identities   20 Q:active: (what all processing lists begin with)
--       21 Q:locks   22 Q:callbacks

local FIRST_READY = 9

-- The registered workers, and those of `unlisted` that are not.
local function all_workers(unlisted)
  local workers, known = redis.call('ZRANGE', KEYS[19], 0, -1), {}
  for i = 1, #workers do known[workers[i]] = true end
  for i = 1, #unlisted do
    if not known[unlisted[i]] then workers[#workers + 1] = unlisted[i] end
  end
  return workers
end

-- Of each id who holds it, by worker and claim.
local function holders_of(ids, workers)
  local holders = {}
  for i = 1, #ids do holders[i] = {} end
  for k = 1, #workers do
    local marks = redis.call('HMGET', KEYS[20] .. workers[k], unpack(ids))
    for i = 1, #ids do
      if marks[i] then
        local claim = string.match(marks[i], '^(%d+):') or '0'
        holders[i][#holders[i] + 1] = workers[k] .. '=' .. claim
      end
    end
  end
  return holders
end

-- '?' where they are not sought, '!' where they are too long to be, else LEVEL:ENTRIES:GHOSTS of each level with some.
local function entries_of(id, seek, ready_max)
  if not seek then return '?' end
  local len, lens = 0, {}
  for level = 0, 9 do
    lens[level] = redis.call('LLEN', KEYS[FIRST_READY + level])
    len = len + lens[level]
  end
  if ready_max < len then return '!' end
  local fields, found = {}, {}
  for level = 0, 9 do fields[level + 1] = id .. level end
  local ghosts = redis.call('HMGET', KEYS[8], unpack(fields))
  for level = 0, 9 do
    local entries = 0 < lens[level] and #redis.call('LPOS', KEYS[FIRST_READY + level], id, 'COUNT', 0) or 0
    local void = tonumber(ghosts[level + 1]) or 0
    if 0 < entries or 0 < void then
      found[#found + 1] = level .. ':' .. entries .. ':' .. digits(math.max(void, 0))
    end
  end
  return table.concat(found, ',')
end

local function census_of(ids, workers, seek, ready_max)
  local holders, texts = holders_of(ids, workers), {}
  for i = 1, #ids do
    local id = ids[i]
    local bits = redis.call('HEXISTS', KEYS[1], id)
      .. (redis.call('ZSCORE', KEYS[2], id) and 1 or 0)
      .. (redis.call('ZSCORE', KEYS[3], id) and 1 or 0)
      .. redis.call('HEXISTS', KEYS[4], id)
      .. redis.call('HEXISTS', KEYS[5], id)
      .. redis.call('HEXISTS', KEYS[6], id)
      .. redis.call('SISMEMBER', KEYS[7], id)
      .. redis.call('HEXISTS', KEYS[21], id)
      .. (redis.call('ZSCORE', KEYS[22], id) and 1 or 0)
    texts[i] = bits .. '|' .. table.concat(holders[i], ',') .. '|' .. entries_of(id, seek, ready_max)
  end
  return texts
end

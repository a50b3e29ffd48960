-- dead.lua   How many dead letters are kept (docs/dead-letters.md).

-- The most that one call cuts: no call buries more, so that a queue at its limit stays there.
local CUT_MAX, CUT_SHOWN_MAX = 1000, 10

-- Removes dead letters that take so many bytes.
local function drop_dead(meta, tasks, dead, reasons, facts, locks, ids, bytes)
  count_dead_bytes(meta, -bytes)
  write('ZREM', dead, ids)
  write('HDEL', reasons, ids)
  write('HDEL', tasks, ids)
  write('HDEL', facts, ids)
  -- Dead letters hold no key, only what they would hold again.
  write('HDEL', locks, ids)
end

-- Cuts what is beyond the queue's retention, oldest first. Answers nil if nothing is, or how many were cut for their
-- age, their number and their bytes, the first of their ids as one string, and 1 if there is more to cut. One whose
-- callback is owed is kept until it was sent, and with it those that died later.
local function cut_dead(now, meta, tasks, dead, reasons, facts, locks, callbacks)
  local settings = redis.call('HMGET', meta, 'retention', 'dead_bytes', 'cut')
  local count_max, age_max, bytes_max = string.match(settings[1] or '', '^(%d*):(%d*):(%d*)$')
  count_max, age_max, bytes_max = tonumber(count_max), tonumber(age_max), tonumber(bytes_max)
  local len, before = redis.call('ZCARD', dead), tonumber(settings[2]) or 0
  local bytes = before
  local cut, shown, by, more = {}, {}, {age = 0, count = 0, bytes = 0}, 0

  local function reason_for(died)
    if age_max and age_max <= now - died then return 'age' end
    if count_max and count_max < len - #cut then return 'count' end
    if bytes_max and bytes_max < bytes then return 'bytes' end
  end

  local first, step = 0, 1
  while more == 0 do
    local page = redis.call('ZRANGE', dead, first, first + step - 1, 'WITHSCORES')
    local kept = #page == 0
    for i = 1, #page, 2 do
      local reason = reason_for(tonumber(page[i + 1]))
      if not reason or (callbacks and redis.call('ZSCORE', callbacks, page[i])) then
        kept = true
        break
      end
      if #cut == CUT_MAX then
        more = 1
        break
      end
      cut[#cut + 1] = page[i]
      by[reason] = by[reason] + 1
      bytes = bytes - size_of(tasks, reasons, page[i])
      if #shown < CUT_SHOWN_MAX then shown[#shown + 1] = page[i] end
    end
    if kept then break end
    first, step = first + step, CHUNK
  end
  if #cut == 0 then return nil end

  drop_dead(meta, tasks, dead, reasons, facts, locks, cut, before - bytes)
  redis.call('HSET', meta, 'cut', digits((tonumber(settings[3]) or 0) + #cut))
  return {by.age, by.count, by.bytes, table.concat(shown), more}
end

-- places.lua   What the scripts share about the places of a queue.

-- Redis keeps what a failing script has written, so a key of the wrong type is found before the first write.
local function wrong_type(kinds)
  for i = 1, #kinds, 2 do
    local found = redis.call('TYPE', kinds[i]).ok
    if found ~= 'none' and found ~= kinds[i + 1] then
      return redis.error_reply('WRONGTYPE ' .. kinds[i] .. ' holds a ' .. found .. ', not a ' .. kinds[i + 1])
    end
  end
end

-- `used` is sticky: the digit of every priority and a letter for every rare place that the queue ever had something
-- in (s scheduled, g ghosts, f facts, c callbacks), and l once it had a large envelope. A plain task pays for none of the others.
local function has(used, letter)
  return string.find(used, letter, 1, true) ~= nil
end

local function remember(meta, used, letters)
  local all = used
  for letter in string.gmatch(letters, '.') do
    if not has(all, letter) then all = all .. letter end
  end
  if all ~= used then redis.call('HSET', meta, 'used', all) end
  return all
end

-- One member at most, however often it is rung. A bell of the wrong type fails in the waits, which say so; here it
-- must not undo half a transition.
local function ring(bell)
  redis.pcall('ZADD', bell, 'NX', 0, 'ring')
end

-- The earliest due time; nil if nothing is scheduled.
local function earliest(scheduled)
  return tonumber(redis.call('ZRANGE', scheduled, 0, 0, 'WITHSCORES')[2])
end

-- A pair of tables as one list a level, to be pushed at once.
local function add_to_level(levels, level, id)
  local ids = levels[level]
  if not ids then
    ids = {}
    levels[level] = ids
  end
  ids[#ids + 1] = id
end

local function wrong_ready(levels, ready_at)
  for level in pairs(levels) do
    local refusal = wrong_type({KEYS[ready_at + level], 'list'})
    if refusal then return refusal end
  end
end

-- Pushes and answers the digits of the levels used.
local function push(command, levels, ready_at)
  local letters = ''
  for level, ids in pairs(levels) do
    write(command, KEYS[ready_at + level], ids)
    letters = letters .. level
  end
  return letters
end

-- How many entries of a ready list stand for nothing. A whole number, whatever somebody wrote there by hand: HINCRBY
-- would end a script in the middle.
local function ghosts_of(text)
  return math.floor(math.max(0, math.min(tonumber(text) or 0, 4294967295)))
end

local function add_ghost(ghosts, id, level)
  local field = id .. level
  redis.call('HSET', ghosts, field, digits(ghosts_of(redis.call('HGET', ghosts, field)) + 1))
end

local function facts_of(text)
  local losses, parks, since, snoozes = string.match(text or '', '^(%d+):(%d+):(%d+):?(%d*)$')
  return {
    losses = tonumber(losses) or 0, parks = tonumber(parks) or 0, since = tonumber(since) or 0,
    snoozes = tonumber(snoozes) or 0,
  }
end

local function facts_text(known)
  local text = digits(known.losses) .. ':' .. digits(known.parks) .. ':' .. digits(known.since)
  if known.snoozes == 0 then return text end
  return text .. ':' .. digits(math.min(known.snoozes, 4294967295))
end

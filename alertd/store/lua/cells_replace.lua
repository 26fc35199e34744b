-- Replaces records of one cell, each only if it is still what the caller knows. A slot is a hint: compaction may have
-- moved the record, which is then searched for. One spot of one subscriber may stand there several times, but unmarked
-- only once, for all their places of one kind there. Who leaves marks that one; where the hint does not show it, every one:
-- the first might be one that was left before, and the one that counts, or that a mover is about to unmark, would stay.
-- KEYS: 1 cell, 2 dirty cells of the group, 3 generations of the group's cells
-- ARGV: 1 cell's name, 2 skew, 3 "place" to compare number, position and place kind, and leave records to settle; "whole" to
--       compare all 16 bytes; "label" for the same where nothing would ever repair what a compaction undoes,
--       4... groups of three: slot, record expected, record to write
-- Returns: how many were replaced
local RECORD, PLACE, KIND = 16, 9, 14 -- bytes; the place kind is the low 3 bits of the 14th
local MARK = 128 -- `moved`, in the 14th byte
local whole, blob = ARGV[3] ~= 'place', nil

local function same(found, expected)
  if whole then return found == expected end
  return #found == RECORD and string.sub(found, 1, PLACE) == string.sub(expected, 1, PLACE)
    and string.byte(found, KIND) % 8 == string.byte(expected, KIND) % 8
end

-- Where in the cell what is expected stands: bytes before it, one by one.
local function each(expected)
  blob = blob or redis.call('GET', KEYS[1]) or ''
  local needle, from = string.sub(expected, 1, PLACE), 1
  return function()
    while true do
      local at = string.find(blob, needle, from, true)
      if not at then return nil end
      from = at + 1
      if (at - 1) % RECORD == 0 and same(string.sub(blob, at, at + RECORD - 1), expected) then return at - 1 end
    end
  end
end

local replaced = 0
local function replace(offset, new)
  redis.call('SETRANGE', KEYS[1], offset, new)
  replaced = replaced + 1
end

for i = 4, #ARGV, 3 do
  local hint, expected, new = tonumber(ARGV[i]) * RECORD, ARGV[i + 1], ARGV[i + 2]
  local found = redis.call('GETRANGE', KEYS[1], hint, hint + RECORD - 1)
  if same(found, expected) and (whole or string.byte(found, KIND) < MARK) then
    replace(hint, new)
  else
    for offset in each(expected) do
      replace(offset, new)
      if whole then break end -- of twins one is enough: the other stays in doubt
    end
  end
  blob = nil
end
if not whole then redis.call('ZADD', KEYS[2], 'NX', now_ms(ARGV[2]), ARGV[1]) end
if ARGV[3] ~= 'whole' then redis.call('HINCRBY', KEYS[3], ARGV[1], 1) end
return replaced

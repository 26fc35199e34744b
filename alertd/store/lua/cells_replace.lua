-- Replaces records of one cell, each only if it is still what the caller knows. A slot is a hint: compaction may have
-- moved the record, which is then searched for.
-- KEYS: 1 cell, 2 dirty cells of the group, 3 generations of the group's cells
-- ARGV: 1 cell's name, 2 skew, 3 "whole" to compare all 16 bytes, "place" for number, position and place kind,
--       4... groups of three: slot, record expected, record to write
-- Returns: how many were replaced
local RECORD, PLACE, KIND = 16, 9, 14 -- bytes; the place kind is the low 3 bits of the 14th
local whole, blob = ARGV[3] == 'whole', nil

local function same(found, expected)
  if whole then return found == expected end
  return #found == RECORD and string.sub(found, 1, PLACE) == string.sub(expected, 1, PLACE)
    and string.byte(found, KIND) % 8 == string.byte(expected, KIND) % 8
end

local function search(expected)
  blob = blob or redis.call('GET', KEYS[1]) or ''
  local needle, from = string.sub(expected, 1, PLACE), 1
  while true do
    local at = string.find(blob, needle, from, true)
    if not at then return nil end
    if (at - 1) % RECORD == 0 and same(string.sub(blob, at, at + RECORD - 1), expected) then return at - 1 end
    from = at + 1
  end
end

local replaced = 0
for i = 4, #ARGV, 3 do
  local offset, expected, new = tonumber(ARGV[i]) * RECORD, ARGV[i + 1], ARGV[i + 2]
  if not same(redis.call('GETRANGE', KEYS[1], offset, offset + RECORD - 1), expected) then offset = search(expected) end
  if offset then
    redis.call('SETRANGE', KEYS[1], offset, new)
    blob, replaced = nil, replaced + 1
  end
end
if not whole then
  redis.call('ZADD', KEYS[2], 'NX', now_ms(ARGV[2]), ARGV[1])
  redis.call('HINCRBY', KEYS[3], ARGV[1], 1)
end
return replaced

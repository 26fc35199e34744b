-- Replaces sealed records of one cell. The script cannot open a record, so it compares all 16 bytes. The slot is a hint: if it holds another
-- record, because compaction moved the expected one, the script searches the cell for it. Of equal records it replaces one.
-- KEYS: 1 cell, 2 dirty cells of the group, 3 generations of the group's cells
-- ARGV: 1 cell's name, 2 skew, 3 "left" if the sweeper has to settle the cell afterwards, "cleared" if not, "label" for a change that a
--       compaction in progress would undo, unless the cell's generation changes, too,
--       4... groups of three: slot, expected record, record to write
-- Returns: the number of replaced records
local RECORD = 16 -- bytes
local blob = nil

-- Returns the offset of the expected record in the cell, in bytes, or nil.
local function searched(expected)
  blob = blob or redis.call('GET', KEYS[1]) or ''
  local from = 1
  while true do
    local at = string.find(blob, expected, from, true)
    if not at then return nil end
    if (at - 1) % RECORD == 0 then return at - 1 end
    from = at + 1
  end
end

local replaced = 0
for i = 4, #ARGV, 3 do
  local hint, expected, new = tonumber(ARGV[i]) * RECORD, ARGV[i + 1], ARGV[i + 2]
  local found = redis.call('GETRANGE', KEYS[1], hint, hint + RECORD - 1)
  local offset = found == expected and hint or searched(expected)
  if offset then
    redis.call('SETRANGE', KEYS[1], offset, new)
    replaced, blob = replaced + 1, nil
  end
end
if ARGV[3] == 'left' then redis.call('ZADD', KEYS[2], 'NX', now_ms(ARGV[2]), ARGV[1]) end
if ARGV[3] ~= 'cleared' then redis.call('HINCRBY', KEYS[3], ARGV[1], 1) end
return replaced

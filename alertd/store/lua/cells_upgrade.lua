-- From schema 2 on to 3: the counts of a group's cells, a hash before, as one string.
-- KEYS: 1 counts of the group's cells
-- ARGV: 1 the first cell that the group can have
-- Returns: how many cells were taken over
if redis.call('TYPE', KEYS[1]).ok ~= 'hash' then return 0 end
local cells = redis.call('HGETALL', KEYS[1])
redis.call('DEL', KEYS[1])
for i = 1, #cells, 2 do
  redis.call('SETRANGE', KEYS[1], (cells[i] - ARGV[1]) * 4, struct.pack('<I4', cells[i + 1]))
end
return #cells / 2

-- Rewrites one cell after its records were settled against their subscribers, unless one was added or marked meanwhile.
-- KEYS: 1 cell, 2 counts of the group's cells, 3 dirty cells of the group, 4 generations of the group's cells
-- ARGV: 1 cell's name, 2 generation as read before the settling, 3 records to keep, 4 "1" when none is left to settle, 5 skew,
--       6 where among the counts the cell's is
-- Returns: 1, or 0 when the cell has changed and is to be read again
if (redis.call('HGET', KEYS[4], ARGV[1]) or '') ~= ARGV[2] then return 0 end
if #ARGV[3] == 0 then
  redis.call('DEL', KEYS[1])
else
  redis.call('SET', KEYS[1], ARGV[3])
end
redis.call('SETRANGE', KEYS[2], ARGV[6], struct.pack('<I4', #ARGV[3] / 16))
if ARGV[4] == '1' then
  redis.call('ZREM', KEYS[3], ARGV[1]) -- the generation stays: it must never be seen twice
else
  redis.call('ZADD', KEYS[3], now_ms(ARGV[5]), ARGV[1]) -- behind the others; and what anybody saw of it before is void
end
return 1

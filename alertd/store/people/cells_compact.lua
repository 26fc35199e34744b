-- Rewrites one cell after the sweeper has settled its records, unless a record was added or marked in between.
-- KEYS: 1 cell, 2 counts of the group's cells, 3 dirty cells of the group, 4 generations of the group's cells
-- ARGV: 1 cell's name, 2 generation read before the settling, 3 records to keep, 4 "1" if none of them is marked, 5 skew,
--       6 offset of the cell's count among the counts
-- Returns: 1, or 0 if the cell has changed: the caller reads it again
if (redis.call('HGET', KEYS[4], ARGV[1]) or '') ~= ARGV[2] then return 0 end
if #ARGV[3] == 0 then
  redis.call('DEL', KEYS[1])
else
  redis.call('SET', KEYS[1], ARGV[3])
end
redis.call('SETRANGE', KEYS[2], ARGV[6], struct.pack('<I4', #ARGV[3] / 16))
if ARGV[4] == '1' then
  redis.call('ZREM', KEYS[3], ARGV[1]) -- keeps the generation, which must never repeat
else
  redis.call('ZADD', KEYS[3], now_ms(ARGV[5]), ARGV[1]) -- puts it behind the others; earlier observations of it become void
end
return 1

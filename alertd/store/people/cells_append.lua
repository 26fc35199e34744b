-- Appends records to one cell. They carry the `moved` bit until the subscriber's record confirms them.
-- KEYS: 1 cell, 2 counts of the group's cells, 3 dirty cells of the group, 4 generations of the group's cells
-- ARGV: 1 cell's name, 2 records (16 bytes each), 3 skew, 4 offset of the cell's count among the counts
-- Returns: {slot of the first record, server time in ms}
local now = now_ms(ARGV[3])
local length = redis.call('APPEND', KEYS[1], ARGV[2])
redis.call('SETRANGE', KEYS[2], ARGV[4], struct.pack('<I4', length / 16))
redis.call('ZADD', KEYS[3], 'NX', now, ARGV[1])
redis.call('HINCRBY', KEYS[4], ARGV[1], 1)
return {(length - #ARGV[2]) / 16, now}

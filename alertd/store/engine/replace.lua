-- Puts a value in place of the one that was read, if that is still there.
-- KEYS: 1 where
-- ARGV: 1 what was read ('' for nothing), 2 the new value
-- Returns: 1 or 0
if (redis.call('GET', KEYS[1]) or '') ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], ARGV[2])
return 1

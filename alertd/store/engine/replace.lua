-- Replaces a value, if the key still holds the value that the caller read.
-- KEYS: 1 the key
-- ARGV: 1 value that the caller read ('' for none), 2 new value
-- Returns: 1, or 0 if the value has changed
if (redis.call('GET', KEYS[1]) or '') ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], ARGV[2])
return 1

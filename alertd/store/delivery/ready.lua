-- Writes a key, which fails on a server without free memory.
-- KEYS: 1 the key
-- ARGV: 1 lifetime in ms
-- Returns: nothing
redis.call('SET', KEYS[1], 'asked', 'PX', ARGV[1])

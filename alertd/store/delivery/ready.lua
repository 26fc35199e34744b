-- Writes something, as only a server with room lets it be written.
-- KEYS: 1 what is written
-- ARGV: 1 ms it lasts
-- Returns: nothing
redis.call('SET', KEYS[1], 'asked', 'PX', ARGV[1])

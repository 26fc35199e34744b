-- Writes a photo that no alert uses yet. Refuses to overwrite.
-- KEYS: 1 photo
-- ARGV: 1 ms until it expires unless an alert uses it, 2... fields
-- Returns: 1, or 0 if it exists
if redis.call('EXISTS', KEYS[1]) == 1 then return 0 end
redis.call('HSET', KEYS[1], unpack(ARGV, 2))
redis.call('PEXPIRE', KEYS[1], ARGV[1])
return 1

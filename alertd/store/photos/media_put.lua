-- Writes a photo that no alert uses yet. Refuses to overwrite.
-- KEYS: 1 photo
-- ARGV: 1 ms it is kept unless an alert takes it, 2... fields
-- Returns: 1, or 0 when it is there already
if redis.call('EXISTS', KEYS[1]) == 1 then return 0 end
redis.call('HSET', KEYS[1], unpack(ARGV, 2))
redis.call('PEXPIRE', KEYS[1], ARGV[1])
return 1

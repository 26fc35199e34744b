-- Returns the key of a case, and lists an id that is sealed under it. Makes the key at first use.
-- KEYS: 1 case, 2 ids sealed under its key
-- ARGV: 1 new key, wrapped, 2 id of the alert or photo to seal, 3 skew
-- Returns: the key, wrapped
local before = tonumber(redis.call('HGET', KEYS[2], ARGV[2]) or '0')
redis.call('HSET', KEYS[2], ARGV[2], string.format('%.0f', math.max(now_ms(ARGV[3]), before + 1))) -- a different time at each call
redis.call('SET', KEYS[1], ARGV[1], 'NX')
return redis.call('GET', KEYS[1])

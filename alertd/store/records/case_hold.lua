-- The key of a case, made at first use, and that something is sealed under it.
-- KEYS: 1 case, 2 what is sealed under its key
-- ARGV: 1 fresh key, wrapped, 2 what is to be sealed (id of an alert or a photo), 3 skew
-- Returns: the key, wrapped
local before = tonumber(redis.call('HGET', KEYS[2], ARGV[2]) or '0')
redis.call('HSET', KEYS[2], ARGV[2], string.format('%.0f', math.max(now_ms(ARGV[3]), before + 1))) -- another each time
redis.call('SET', KEYS[1], ARGV[1], 'NX')
return redis.call('GET', KEYS[1])

-- Attaches a photo to an alert, and so to the alert's case, unless it belongs to another case.
-- KEYS: 1 photo
-- ARGV: 1 org, 2 case, 3 the photo's key, encrypted under the case's key, 4 alert, 5 earliest expiry (UNIX ms)
-- Returns: 1, or 0 if this organisation and case have no such photo
local org, case = unpack(redis.call('HMGET', KEYS[1], 'org', 'case'))
if org ~= ARGV[1] or (case and case ~= ARGV[2]) then return 0 end
if not case then redis.call('HSET', KEYS[1], 'case', ARGV[2], 'key', ARGV[3]) end
redis.call('PEXPIREAT', KEYS[1], ARGV[5], 'GT')
redis.call('SADD', KEYS[1] .. ':alerts', ARGV[4])
redis.call('PEXPIREAT', KEYS[1] .. ':alerts', redis.call('PEXPIRETIME', KEYS[1]))
return 1

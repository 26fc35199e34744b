-- Claims an Idempotency-Key for one caller, or returns the result of the request that has it.
-- KEYS: 1 the key's record
-- ARGV: 1 digest of the request, 2 id of the object that it makes, 3 lifetime of a claim (ms), 4 lifetime of the record (ms), 5 skew
-- Returns: {'fresh', id}, {'done', id, status}, {'running', ms left} or {'mismatch'}
local now = now_ms(ARGV[5])
local digest, id, status, till = unpack(redis.call('HMGET', KEYS[1], 'digest', 'id', 'status', 'until'))
if digest and digest ~= ARGV[1] then return {'mismatch'} end
if status then return {'done', id, status} end
if till and tonumber(till) > now then return {'running', tonumber(till) - now} end
id = id or ARGV[2]
redis.call('HSET', KEYS[1], 'digest', ARGV[1], 'id', id, 'until', now + ARGV[3])
redis.call('PEXPIRE', KEYS[1], ARGV[4])
return {'fresh', id}

-- Replaces a field of a hash, if the field still has the value that the caller read. '' stands for a missing field: as the read value, the
-- field must not exist; as the new value, the field is deleted.
-- KEYS: 1 a hash of sealed records (an organisation's webhooks, distributors or operators), or that of break-glass approvals, in clear
-- ARGV: 1 field, 2 value that the caller read, 3 new value
-- Returns: 1, or 0 if the field has changed
if (redis.call('HGET', KEYS[1], ARGV[1]) or '') ~= ARGV[2] then return 0 end
if ARGV[3] == '' then redis.call('HDEL', KEYS[1], ARGV[1]) else redis.call('HSET', KEYS[1], ARGV[1], ARGV[3]) end
return 1

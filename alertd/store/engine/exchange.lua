-- Writes what a field of a hash is from now on, if it is what was seen. One that is not there is empty, and one that comes to nothing goes.
-- KEYS: 1 a hash of sealed records: an organisation's webhooks or distributors, its operators; or who broke the glass, in clear
-- ARGV: 1 field, 2 what was seen, 3 what it is now
-- Returns: 1, or 0 where it was changed
if (redis.call('HGET', KEYS[1], ARGV[1]) or '') ~= ARGV[2] then return 0 end
if ARGV[3] == '' then redis.call('HDEL', KEYS[1], ARGV[1]) else redis.call('HSET', KEYS[1], ARGV[1], ARGV[3]) end
return 1

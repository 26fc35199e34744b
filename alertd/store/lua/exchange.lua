-- Writes what a field of a hash is from now on, if it is there and is what was seen.
-- KEYS: 1 a hash of sealed records: an organisation's webhooks, its operators; or who broke the glass, in clear
-- ARGV: 1 field, 2 what was seen, sealed, 3 what it is now, sealed
-- Returns: 1, or 0 where it is gone or was changed
if redis.call('HGET', KEYS[1], ARGV[1]) ~= ARGV[2] then return 0 end
redis.call('HSET', KEYS[1], ARGV[1], ARGV[3])
return 1

-- Gives up a claim, if it still stands.
-- KEYS: 1 name
-- ARGV: 1 claim
-- Returns: 1, or 0 when it stands no more
if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end
return 0

-- Gives up a claim, if it still stands.
-- KEYS: 1 name
-- ARGV: 1 claim
if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end
return 0

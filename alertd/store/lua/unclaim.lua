-- Gives up a claim, if it still stands.
-- KEYS: 1 name
-- ARGV: 1 how the claim begins: the holder's number, or the whole claim
-- Returns: 1 if it stood, else 0
local standing = redis.call('GET', KEYS[1])
if standing and standing:sub(1, #ARGV[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end
return 0

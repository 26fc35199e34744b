-- Gives up a claim, if it still stands.
-- KEYS: 1 name, 2 its other name, while a name key is joining: if it exists, it is used
-- ARGV: 1 how the claim begins: the holder's number, or the whole claim
-- Returns: 1 if it stood, else 0
local name = KEYS[2] and redis.call('EXISTS', KEYS[2]) == 1 and KEYS[2] or KEYS[1]
local standing = redis.call('GET', name)
if standing and standing:sub(1, #ARGV[1]) == ARGV[1] then return redis.call('DEL', name) end
return 0

-- Deletes a claim (of an id, an address or another name), if it is still stored.
-- KEYS: 1 name, 2 its other name during a key rotation: the script uses this one if it exists
-- ARGV: 1 first bytes of the expected claim: the holder's number, or the whole claim
-- Returns: 1 if it was deleted, else 0
local name = KEYS[2] and redis.call('EXISTS', KEYS[2]) == 1 and KEYS[2] or KEYS[1]
local standing = redis.call('GET', name)
if standing and standing:sub(1, #ARGV[1]) == ARGV[1] then return redis.call('DEL', name) end
return 0

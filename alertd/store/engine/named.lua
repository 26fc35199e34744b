-- A plain command on what belongs to a hashed name.
-- KEYS: 1 name, 2 its other name, while a name key is joining: if it exists, it is used
-- ARGV: 1 command, 2... what follows the key
-- Returns: its answer
local name = KEYS[2] and redis.call('EXISTS', KEYS[2]) == 1 and KEYS[2] or KEYS[1]
return redis.call(ARGV[1], name, unpack(ARGV, 2))

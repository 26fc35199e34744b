-- Runs a plain command on the value under a hashed name.
-- KEYS: 1 name, 2 its other name during a key rotation: the script uses this one if it exists
-- ARGV: 1 command, 2... its arguments after the key
-- Returns: the command's answer
local name = KEYS[2] and redis.call('EXISTS', KEYS[2]) == 1 and KEYS[2] or KEYS[1]
return redis.call(ARGV[1], name, unpack(ARGV, 2))

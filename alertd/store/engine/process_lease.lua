-- Takes or renews a lease that only one process at a time may hold.
-- KEYS: 1 lease
-- ARGV: 1 name of the process that wants it, 2 ms until it expires unless renewed
-- Returns: 1, or 0 if another process holds it
local holder = redis.call('GET', KEYS[1])
if holder and holder ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return 1

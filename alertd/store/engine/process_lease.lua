-- Takes or renews a lease that one process at a time may have.
-- KEYS: 1 lease
-- ARGV: 1 the process that wants it, 2 ms it lasts without being renewed
-- Returns: 1, or 0 if another process has it
local holder = redis.call('GET', KEYS[1])
if holder and holder ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return 1

-- Counts an alert among those that went out unattended within the last hour, if there is room for it.
-- KEYS: 1 those alerts
-- ARGV: 1 alert, 2 how many there may be, 3 skew (ms)
-- Returns: 1 or 0; of one that is counted already, 1
local HOUR = 3600000
local now = now_ms(ARGV[3])
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', string.format('(%.0f', now - HOUR + 1))
if redis.call('ZSCORE', KEYS[1], ARGV[1]) then return 1 end
if redis.call('ZCARD', KEYS[1]) >= tonumber(ARGV[2]) then return 0 end
redis.call('ZADD', KEYS[1], string.format('%.0f', now), ARGV[1])
redis.call('PEXPIRE', KEYS[1], HOUR)
return 1

-- Counts an alert among those that were sent unattended in the last hour, unless the maximum is reached.
-- KEYS: 1 those alerts
-- ARGV: 1 alert, 2 maximum number, 3 skew (ms)
-- Returns: 1 or 0; 1 for an alert that is counted already
local HOUR = 3600000
local now = now_ms(ARGV[3])
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', string.format('(%.0f', now - HOUR + 1))
if redis.call('ZSCORE', KEYS[1], ARGV[1]) then return 1 end
if redis.call('ZCARD', KEYS[1]) >= tonumber(ARGV[2]) then return 0 end
redis.call('ZADD', KEYS[1], string.format('%.0f', now), ARGV[1])
redis.call('PEXPIRE', KEYS[1], HOUR)
return 1

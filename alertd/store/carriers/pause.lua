-- Pauses a carrier that asked alertd to wait: no process gets a permit until then. A longer pause is kept. Withdraws a probe in progress:
-- its outcome no longer counts.
-- KEYS: 1 limiter
-- ARGV: 1 pause (ms), 2 skew (ms)
-- Returns: 1
local t = redis.call('TIME')
local till = t[1] * 1000000 + t[2] + (ARGV[1] + ARGV[2]) * 1000
if till > tonumber(redis.call('HGET', KEYS[1], 'paused') or '0') then
  redis.call('HSET', KEYS[1], 'paused', string.format('%.0f', till), 'pause', string.format('%.0f', ARGV[1] * 1000))
  redis.call('HDEL', KEYS[1], 'probe')
  redis.call('PEXPIRE', KEYS[1], math.max(redis.call('PTTL', KEYS[1]), tonumber(ARGV[1]) + 60000)) -- failures are kept for longer
end
return 1

-- Counts failed messages of a carrier. After enough failures in a row the carrier rests: no process gets a permit. Each further rest is
-- twice as long (a circuit breaker). After a rest, `take.lua` lets one message probe the carrier; when it is accepted, `resume.lua` clears
-- all of this.
-- KEYS: 1 limiter
-- ARGV: 1 number of failures, 2 skew (ms), 3 number of failures that starts a rest, 4 ms without a failure after which the count restarts,
--       5 shortest and 6 longest rest (ms)
-- Returns: length of the rest that starts now (ms), 0 if none starts
local now = now_ms(ARGV[2])
local failed, failed_at, rests = unpack(redis.call('HMGET', KEYS[1], 'failed', 'failed_at', 'rests'))
failed, rests = tonumber(failed or '0'), tonumber(rests or '0')
if now - tonumber(failed_at or '0') > tonumber(ARGV[4]) then failed = 0 end
failed = failed + ARGV[1]
redis.call('HSET', KEYS[1], 'failed', failed, 'failed_at', now)
redis.call('PEXPIRE', KEYS[1], math.max(redis.call('PTTL', KEYS[1]), tonumber(ARGV[4]) + 2 * ARGV[6]))
local paused = tonumber(redis.call('HGET', KEYS[1], 'paused') or '0') / 1000
if (rests == 0 and failed < tonumber(ARGV[3])) or paused > now then return 0 end -- another process has started a rest already
local rest = math.min(ARGV[5] * 2 ^ rests, tonumber(ARGV[6]))
redis.call('HSET', KEYS[1], 'rests', rests + 1, 'paused', string.format('%.0f', (now + rest) * 1000),
  'pause', string.format('%.0f', rest * 1000))
redis.call('HDEL', KEYS[1], 'probe')
return rest

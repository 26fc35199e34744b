-- Ends the pause or rest of a carrier that accepted a probe, and clears its failures. It does not matter how long the carrier took to
-- answer, or whether other probes are in progress. A pause or rest that began after the probe was granted stays.
-- KEYS: 1 limiter
-- ARGV: 1 mark of the probe from `take.lua` ('' for any)
-- Returns: 1, or 0 if a pause or rest began after the probe was granted
local paused, pause = unpack(redis.call('HMGET', KEYS[1], 'paused', 'pause'))
if ARGV[1] ~= '' and tonumber(ARGV[1]) <= tonumber(paused or '0') - tonumber(pause or '0') then return 0 end
redis.call('HDEL', KEYS[1], 'paused', 'pause', 'probe', 'failed', 'failed_at', 'rests')
return 1

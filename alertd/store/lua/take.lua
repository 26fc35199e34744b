-- GCRA on the server's clock in microseconds: a block of permits for one carrier.
-- KEYS: 1 limiter
-- ARGV: 1 permits a second, 2 burst (permits), 3 wanted, 4 least that is of use, 5 skew (ms)
-- Returns: {granted, microseconds to wait when none}
local t = redis.call('TIME')
local now = t[1] * 1000000 + t[2] + ARGV[5] * 1000
local rate, burst, wanted, least = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
local tat, paused, pause = unpack(redis.call('HMGET', KEYS[1], 'tat', 'paused', 'pause'))
paused, pause = tonumber(paused or '0'), tonumber(pause or '0')
if paused - now > pause then -- the clock was set back: the pause begins anew, or it would last as long as the step
  paused = now + pause
  redis.call('HSET', KEYS[1], 'paused', string.format('%.0f', paused))
end
if paused > now then return {0, paused - now} end
local each = 1000000 / rate
burst = math.max(burst, least) -- what costs more than the burst goes when the bucket is full, rather than never
-- Never further ahead than a full bucket's worth, which only a clock that was set back or a rate that was raised can cause.
tat = math.min(math.max(tonumber(tat or '0'), now), now + burst * each)
local room = math.floor(burst - (tat - now) / each + 1e-6)
if room < least then return {0, math.ceil((least - burst) * each + tat - now)} end
local granted = math.min(room, wanted)
redis.call('HSET', KEYS[1], 'tat', string.format('%.0f', tat + granted * each))
redis.call('PEXPIRE', KEYS[1], math.max(60000, math.ceil(burst * each / 1000) + 1000))
return {granted, 0}

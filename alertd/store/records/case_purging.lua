-- A case is about to be purged, so that nobody puts a hold on it meanwhile.
-- KEYS: 1 what keeps the case
-- ARGV: 1 skew
-- Returns: since when it is, in ms, or 0 when there is a hold
if redis.call('HEXISTS', KEYS[1], 'hold') == 1 then return 0 end
local now = now_ms(ARGV[1])
redis.call('HSET', KEYS[1], 'purging', string.format('%.0f', now))
return now

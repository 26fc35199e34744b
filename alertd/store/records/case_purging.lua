-- Marks a case as being purged, which forbids new legal holds.
-- KEYS: 1 hold of the case
-- ARGV: 1 skew
-- Returns: begin of the purge in ms, or 0 if the case has a legal hold
if redis.call('HEXISTS', KEYS[1], 'hold') == 1 then return 0 end
local now = now_ms(ARGV[1])
redis.call('HSET', KEYS[1], 'purging', string.format('%.0f', now))
return now

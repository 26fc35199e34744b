-- A message that was to try a carrier is accepted: all that kept others from it is removed. How long the carrier took over it, and
-- whether others try it by now, says nothing against it; a rest that began after it was let go does.
-- KEYS: 1 limiter
-- ARGV: 1 its mark, as `take` gave it ('' for any)
-- Returns: 1, or 0 where the carrier was paused since
local paused, pause = unpack(redis.call('HMGET', KEYS[1], 'paused', 'pause'))
if ARGV[1] ~= '' and tonumber(ARGV[1]) <= tonumber(paused or '0') - tonumber(pause or '0') then return 0 end
redis.call('HDEL', KEYS[1], 'paused', 'pause', 'probe', 'failed', 'failed_at', 'rests')
return 1

-- Puts a hold on a case, so that nobody purges it, or removes the hold.
-- KEYS: 1 what keeps the case
-- ARGV: 1 the hold that was seen, sealed ('' for none), 2 the hold from now on, sealed ('' for none), 3 skew, 4 ms that a purge takes at most
-- Returns: 1, 0 when another hold is there by now, -1 while the case is being purged
local hold, purging = unpack(redis.call('HMGET', KEYS[1], 'hold', 'purging'))
if (hold or '') ~= ARGV[1] then return 0 end
if ARGV[2] == '' then
  redis.call('HDEL', KEYS[1], 'hold')
  return 1
end
if purging and now_ms(ARGV[3]) - tonumber(purging) < tonumber(ARGV[4]) then return -1 end
redis.call('HSET', KEYS[1], 'hold', ARGV[2])
return 1

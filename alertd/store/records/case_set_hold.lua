-- Sets a legal hold on a case, which forbids a purge, or removes the hold.
-- KEYS: 1 hold of the case
-- ARGV: 1 hold that the caller read, sealed ('' for none), 2 new hold, sealed ('' for none), 3 skew, 4 maximum time of a purge (ms)
-- Returns: 1, 0 if the case has another hold by now, -1 while the case is being purged
local hold, purging = unpack(redis.call('HMGET', KEYS[1], 'hold', 'purging'))
if (hold or '') ~= ARGV[1] then return 0 end
if ARGV[2] == '' then
  redis.call('HDEL', KEYS[1], 'hold')
  return 1
end
if purging and now_ms(ARGV[3]) - tonumber(purging) < tonumber(ARGV[4]) then return -1 end
redis.call('HSET', KEYS[1], 'hold', ARGV[2])
return 1

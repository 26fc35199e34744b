-- Puts an organisation's hold on a case, which is not purged then, or takes it away.
-- KEYS: 1 what keeps the case
-- ARGV: 1 the organisation's field, 2 the hold that was seen, sealed ('' for none), 3 the hold from now on ('' for none), 4 skew,
--       5 ms that a purge takes at most
-- Returns: 1, 2 when another organisation's hold keeps it still, 0 when another hold is there by now, -1 while the case is being purged
local hold, purging = unpack(redis.call('HMGET', KEYS[1], ARGV[1], 'purging'))
if (hold or '') ~= ARGV[2] then return 0 end
if ARGV[3] == '' then
  redis.call('HDEL', KEYS[1], ARGV[1])
  local left = redis.call('HLEN', KEYS[1]) - redis.call('HEXISTS', KEYS[1], 'purging')
  return left > 0 and 2 or 1
end
if purging and now_ms(ARGV[4]) - tonumber(purging) < tonumber(ARGV[5]) then return -1 end
redis.call('HSET', KEYS[1], ARGV[1], ARGV[3])
return 1

-- Renews the leases that one worker holds on one channel of one alert.
-- KEYS: 1 chain (an alert with its versions)
-- ARGV: 1 channel, 2 lease ms, 3 skew, 4... leases
-- Returns: the number of leases that are still alive
local chain, alive = KEYS[1], 0
local now = chain_now(chain, ARGV[3])
for i = 4, #ARGV do
  if redis.call('HEXISTS', key(chain, 'leases'), ARGV[i]) == 1 then
    redis.call('ZADD', key(chain, 'until', ARGV[1]), now + tonumber(ARGV[2]), ARGV[i])
    alive = alive + 1
  end
end
return alive

-- Stores whether one worker can log in at a carrier. Deletes the results of silent workers.
-- KEYS: 1 logins
-- ARGV: 1 worker, 2 state, 3 rest of the result, 4 ms after which a silent worker is dead, 5 skew (ms)
-- Returns: the results of all workers, as HGETALL
local me, life, now = ARGV[1], tonumber(ARGV[4]), now_ms(ARGV[5])
local since, all = now, redis.call('HGETALL', KEYS[1])
for i = 1, #all, 2 do
  local began, at, state = string.match(all[i + 1], '^(%d+) (%d+) (%S+) ')
  if all[i] == me then
    if state == ARGV[2] then since = tonumber(began) end
  elseif math.abs(now - at) > life then
    redis.call('HDEL', KEYS[1], all[i])
  end
end
redis.call('HSET', KEYS[1], me, string.format('%.0f %.0f %s %s', since, now, ARGV[2], ARGV[3]))
redis.call('PEXPIRE', KEYS[1], life)
return redis.call('HGETALL', KEYS[1])

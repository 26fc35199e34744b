-- Changes what is stopped, if nobody changed it since it was read. Each change is a new generation.
-- KEYS: 1 what is stopped
-- ARGV: 1 generation that was read, 2 scope, 3 what is kept of the stop, sealed ('' to lift it)
-- Returns: 1 or 0
if (redis.call('HGET', KEYS[1], 'generation') or '0') ~= ARGV[1] then return 0 end
if ARGV[3] == '' then
  redis.call('HDEL', KEYS[1], ARGV[2])
else
  redis.call('HSET', KEYS[1], ARGV[2], ARGV[3])
end
redis.call('HINCRBY', KEYS[1], 'generation', 1)
return 1

-- Changes what is stopped, if nobody changed it since it was read, or leaves it as it is. Either is a new generation, and later than all before it:
-- the record may have gone back with the server that was to keep it, and chains know of generations that it does not.
-- KEYS: 1 what is stopped
-- ARGV: 1 generation that was read ('' to leave all as it is), 2 scope, 3 what is kept of the stop, sealed ('' to lift it), 4 skew
-- Returns: 1 or 0
local old = redis.call('HGET', KEYS[1], 'generation') or '0'
if ARGV[1] ~= '' then
  if old ~= ARGV[1] then return 0 end
  if ARGV[3] == '' then
    redis.call('HDEL', KEYS[1], ARGV[2])
  else
    redis.call('HSET', KEYS[1], ARGV[2], ARGV[3])
  end
end
redis.call('HSET', KEYS[1], 'generation', string.format('%.0f', math.max(old + 1, now_ms(ARGV[4]))))
return 1

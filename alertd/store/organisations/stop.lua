-- Sets or lifts one stop, unless another caller changed the stops meanwhile. Without a generation, changes no stop. In both cases stores a
-- generation number higher than all before: after the loss of a server the record may be old, and alerts may know later numbers.
-- KEYS: 1 the stops
-- ARGV: 1 generation that the caller read ('' to keep the stops), 2 scope, 3 the stop, sealed ('' to lift it), 4 skew
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

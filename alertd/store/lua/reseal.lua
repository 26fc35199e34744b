-- Puts a value that is sealed under the new master key in place of the one under the old, if that is still there. Its time to live stays.
-- KEYS: 1 where
-- ARGV: 1 field of a hash ('' for a string), 2 what was seen, 3 the same, sealed anew
-- Returns: 1, or 0 if another value is there
if ARGV[1] == '' then
  if redis.call('GET', KEYS[1]) ~= ARGV[2] then return 0 end
  redis.call('SET', KEYS[1], ARGV[3], 'KEEPTTL')
else
  if redis.call('HGET', KEYS[1], ARGV[1]) ~= ARGV[2] then return 0 end
  redis.call('HSET', KEYS[1], ARGV[1], ARGV[3])
end
return 1

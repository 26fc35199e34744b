-- Moves a rotation of the master key from one phase to the next, if it is still in the phase that the caller read.
-- KEYS: 1 rotation, 2 check value
-- ARGV: 1 phase that the caller read ('' for no rotation), 2 new check value ('' to keep it), 3... pairs: field, value
-- Returns: 1, or 0 if the rotation is in another phase
if (redis.call('HGET', KEYS[1], 'phase') or '') ~= ARGV[1] then return 0 end
redis.call('HSET', KEYS[1], unpack(ARGV, 3))
if ARGV[2] ~= '' then redis.call('SET', KEYS[2], ARGV[2]) end
return 1

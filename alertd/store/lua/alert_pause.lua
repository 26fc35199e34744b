-- Lets an alert that is being sent wait, or go on.
-- KEYS: 1 chain
-- ARGV: 1 alert id, 2 states it may be in (comma before and after each), 3 "1" to wait, 4 revision that was seen ('' for any),
--       5 skew, 6... fields to set
-- Returns: {1 or 0, the state it has; 'changed' where that is why not}
local chain, version_key = KEYS[1], key(KEYS[1], 'version', ARGV[1])
local state, misfit = standing(version_key, ARGV[2], ARGV[4])
if misfit then return misfit end
local waits = redis.call('HGET', version_key, 'paused') == '1'
if waits == (ARGV[3] == '1') then return {1, state} end
redis.call('HSET', chain, 'paused', ARGV[3])
redis.call('HSET', version_key, 'paused', ARGV[3], unpack(ARGV, 6))
local rev = redis.call('HINCRBY', version_key, 'rev', 1)
tell(chain, ARGV[1], chain_now(chain, ARGV[5]), waits and 'resumed' or 'paused', {rev = tostring(rev)})
return {1, state}

-- Replaces what an alert says while nobody has approved it.
-- KEYS: 1 chain
-- ARGV: 1 alert id, 2 states it may be in (comma before and after each), 3 revision that was seen, 4 area (WKB), 5... fields
-- Returns: {1 or 0, the state it has; 'changed' where that is why not}
local chain, alert = KEYS[1], ARGV[1]
local version_key = key(chain, 'version', alert)
local state, rev = unpack(redis.call('HMGET', version_key, 'state', 'rev'))
if not state then return {0, ''} end
if not string.find(ARGV[2], ',' .. state .. ',', 1, true) then return {0, state} end
if ARGV[3] ~= rev then return {0, 'changed'} end
redis.call('SET', key(chain, 'area', alert), ARGV[4])
redis.call('HSET', version_key, unpack(ARGV, 5))
redis.call('HINCRBY', version_key, 'rev', 1)
return {1, state}

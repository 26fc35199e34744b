-- Replaces the content of an alert that is not approved yet, and increments its revision.
-- KEYS: 1 chain (an alert with its versions)
-- ARGV: 1 alert id, 2 states it may be in (comma before and after each), 3 revision that the caller read, 4 area (packed), 5... fields
-- Returns: {1 or 0, the alert's state; 'changed' if the revision is another}
local chain, alert = KEYS[1], ARGV[1]
local version_key = key(chain, 'version', alert)
local state, misfit = check_state(version_key, ARGV[2], ARGV[3])
if misfit then return misfit end
redis.call('SET', key(chain, 'area', alert), ARGV[4])
redis.call('HSET', version_key, unpack(ARGV, 5))
redis.call('HINCRBY', version_key, 'rev', 1)
return {1, state}

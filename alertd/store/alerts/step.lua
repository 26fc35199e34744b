-- Moves a version to another state, if it is in an allowed state and its revision is the one that the caller read. Increments the revision
-- and writes an event.
-- KEYS: 1 chain (an alert with its versions)
-- ARGV: 1 alert id, 2 states it may come from (comma before and after each), 3 new state, 4 skew, 5 revision that the caller read ('' for
--       any), 6... fields to set
-- Returns: {1 or 0, the earlier state; 'changed' if the revision is another}
local chain, version_key = KEYS[1], key(KEYS[1], 'version', ARGV[1])
local state, misfit = check_state(version_key, ARGV[2], ARGV[5])
if misfit then return misfit end
local now = chain_now(chain, ARGV[4])
if #ARGV > 5 then redis.call('HSET', version_key, unpack(ARGV, 6)) end
enter(chain, ARGV[1], ARGV[3], now)
return {1, state}

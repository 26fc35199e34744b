-- Extends an alert to the area that a neighbour organisation permits. Stores a version that takes the place of all earlier ones, and opens
-- its gate.
-- KEYS: 1 chain (an alert with its versions)
-- ARGV: 1 alert id, 2 states it may be in (comma before and after each), 3 revision that the caller read, 4 number of the chain's last
--       version that the caller read, 5 id of the version, 6 area (packed), 7 audience (deltas, zlib), 8 number of people, 9 skew, 10 the
--       neighbour, 11 the neighbour's API key that permits it, 12 number of arguments that are fields of the alert, 13... the fields of the
--       alert, then the fields of the version
-- Returns: {1 or 0, the alert's state; 'changed' or 'expired' if that is the reason for a refusal, 'again' if another version came first}
local chain, alert, version = KEYS[1], ARGV[1], ARGV[5]
local alert_key, version_key = key(chain, 'version', alert), key(chain, 'version', version)
local state, misfit = check_state(alert_key, ARGV[2], ARGV[3])
if misfit then return misfit end
local last = redis.call('HGET', chain, 'last') or '1'
if last ~= ARGV[4] then return {0, 'again'} end
local now, fields = chain_now(chain, ARGV[9]), tonumber(ARGV[12])
if has_ended(chain, redis.call('HGET', alert_key, 'expires'), now) then return {0, 'expired'} end
redis.call('HSET', version_key, 'created', now, 'people', ARGV[8], unpack(ARGV, 13 + fields))
redis.call('HSET', chain, 'last', last + 1)
take_place(chain, alert, version, now)
redis.call('HSET', chain, 'keys', (redis.call('HGET', chain, 'keys') or '') .. ' ' .. ARGV[11])
redis.call('HSET', alert_key, unpack(ARGV, 13, 12 + fields))
redis.call('SET', key(chain, 'area', alert), ARGV[6])
redis.call('SET', key(chain, 'area', version), ARGV[6])
redis.call('SET', key(chain, 'audience', version), ARGV[7])
record_event(chain, alert, now, 'permission_granted', {rev = tostring(redis.call('HINCRBY', alert_key, 'rev', 1)), organisation = ARGV[10]})
open_gate(chain, version, now)
return {1, state}

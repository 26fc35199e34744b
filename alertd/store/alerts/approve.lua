-- Approves an alert: stores its frozen audience and opens its gate (its messages may be sent), in one write. From now on the recipients are
-- fixed.
-- KEYS: 1 chain (an alert with its versions)
-- ARGV: 1 alert id, 2 states it may come from (comma before and after each), 3 audience (deltas, zlib), 4 number of people, 5 skew,
--       6 revision that the approver saw, 7 API keys of its author and approver, 8 "1" if its author approves it alone (break glass),
--       9 neighbour organisations that it asks for permission, 10... fields to set
-- Returns: {1 or 0, the earlier state; 'expired' or 'changed' if that is the reason for a refusal}
local chain, alert = KEYS[1], ARGV[1]
local version_key = key(chain, 'version', alert)
local state, misfit = check_state(version_key, ARGV[2], ARGV[6])
if misfit then return misfit end
local now = chain_now(chain, ARGV[5])
if has_ended(chain, redis.call('HGET', version_key, 'expires'), now) then return {0, 'expired'} end
redis.call('SET', key(chain, 'audience', alert), ARGV[3])
redis.call('HSET', chain, 'keys', ARGV[7])
redis.call('HDEL', chain, 'paused') -- that was another version's
redis.call('HSET', version_key, 'people', ARGV[4], unpack(ARGV, 10))
if ARGV[8] == '1' then redis.call('HSET', version_key, 'broken', now) end
open_gate(chain, alert, now)
if ARGV[8] == '1' then record_event(chain, alert, now, 'break_glass', {rev = redis.call('HGET', version_key, 'rev')}) end
ask(chain, alert, now, ARGV[9])
return {1, state}

-- Freezes the audience and opens the gate, in one write: from here on it is known who is to be told.
-- KEYS: 1 chain
-- ARGV: 1 alert id, 2 states it may come from (comma before and after each), 3 audience (deltas, zlib), 4 people,
--       5 skew, 6 revision that was seen, 7 keys it is sent by (of its author and its approver), 8 "1" where its author approves it
--       alone, 9 neighbours that are asked with it, 10... fields to set
-- Returns: {1 or 0, the state it had; 'expired' or 'changed' where that is why not}
local chain, alert = KEYS[1], ARGV[1]
local version_key = key(chain, 'version', alert)
local state, misfit = standing(version_key, ARGV[2], ARGV[6])
if misfit then return misfit end
local now = chain_now(chain, ARGV[5])
if has_ended(chain, redis.call('HGET', version_key, 'expires'), now) then return {0, 'expired'} end
redis.call('SET', key(chain, 'audience', alert), ARGV[3])
redis.call('HSET', chain, 'keys', ARGV[7])
redis.call('HDEL', chain, 'paused') -- that was another version's
redis.call('HSET', version_key, 'people', ARGV[4], unpack(ARGV, 10))
if ARGV[8] == '1' then redis.call('HSET', version_key, 'broken', now) end
open_gate(chain, alert, now)
if ARGV[8] == '1' then tell(chain, alert, now, 'break_glass', {rev = redis.call('HGET', version_key, 'rev')}) end
ask(chain, alert, now, ARGV[9])
return {1, state}

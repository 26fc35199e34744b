-- A neighbour's permission that changes nothing of what is told: it is refused, or asked for again.
-- KEYS: 1 chain
-- ARGV: 1 alert id, 2 states it may be in (comma before and after each), 3 revision that was seen, 4 skew, 5 what the event is called,
--       6 the neighbour, 7... fields to set
-- Returns: {1 or 0, the state it has; 'changed' or 'expired' where that is why not}
local chain, alert = KEYS[1], ARGV[1]
local version_key = key(chain, 'version', alert)
local state, misfit = standing(version_key, ARGV[2], ARGV[3])
if misfit then return misfit end
local now = chain_now(chain, ARGV[4])
if has_ended(chain, redis.call('HGET', version_key, 'expires'), now) then return {0, 'expired'} end
redis.call('HSET', version_key, unpack(ARGV, 7))
local rev = redis.call('HINCRBY', version_key, 'rev', 1)
tell(chain, alert, now, ARGV[5], {rev = tostring(rev), organisation = ARGV[6]})
return {1, state}

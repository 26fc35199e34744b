-- What another organisation says of an alert and what changes nothing of what is sent: a neighbour refuses its permission or is asked again, an
-- organisation asks to stand the alert down, the administrator of the service releases its legal hold.
-- KEYS: 1 chain
-- ARGV: 1 alert id, 2 states it may be in, before its end (comma before and after each; '' for any state at any time), 3 revision that was seen,
--       4 skew, 5 what the event is called, 6 the other organisation, 7... fields to set
-- Returns: {1 or 0, the state it has; 'changed' or 'expired' where that is why not}
local chain, alert = KEYS[1], ARGV[1]
local version_key = key(chain, 'version', alert)
local states = ARGV[2] ~= '' and ARGV[2] or ',' .. (redis.call('HGET', version_key, 'state') or '') .. ','
local state, misfit = standing(version_key, states, ARGV[3])
if misfit then return misfit end
local now = chain_now(chain, ARGV[4])
if ARGV[2] ~= '' and has_ended(chain, redis.call('HGET', version_key, 'expires'), now) then return {0, 'expired'} end
if ARGV[7] then redis.call('HSET', version_key, unpack(ARGV, 7)) end
local rev = redis.call('HINCRBY', version_key, 'rev', 1)
tell(chain, alert, now, ARGV[5], {rev = tostring(rev), organisation = ARGV[6]})
return {1, state}

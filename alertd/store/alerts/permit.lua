-- Stores a statement of another organisation about an alert that changes nothing in its sending: a neighbour refuses its permission or is
-- asked again, an organisation asks to stand the alert down, or the administrator of the service releases its legal hold. Increments the
-- revision and writes an event.
-- KEYS: 1 chain (an alert with its versions)
-- ARGV: 1 alert id, 2 states it may be in while it is not expired (comma before and after each; '' for any state at any time), 3 revision
--       that the caller read, 4 skew, 5 type of the event, 6 the other organisation, 7... fields to set
-- Returns: {1 or 0, the alert's state; 'changed' or 'expired' if that is the reason for a refusal}
local chain, alert = KEYS[1], ARGV[1]
local version_key = key(chain, 'version', alert)
local states = ARGV[2] ~= '' and ARGV[2] or ',' .. (redis.call('HGET', version_key, 'state') or '') .. ','
local state, misfit = check_state(version_key, states, ARGV[3])
if misfit then return misfit end
local now = chain_now(chain, ARGV[4])
if ARGV[2] ~= '' and has_ended(chain, redis.call('HGET', version_key, 'expires'), now) then return {0, 'expired'} end
if ARGV[7] then redis.call('HSET', version_key, unpack(ARGV, 7)) end
local rev = redis.call('HINCRBY', version_key, 'rev', 1)
record_event(chain, alert, now, ARGV[5], {rev = tostring(rev), organisation = ARGV[6]})
return {1, state}

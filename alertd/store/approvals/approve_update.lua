-- Opens the gate of an update and closes those of all that told the alert before: what is queued there is told anew, or to nobody. From
-- here on the alert says what the update says, where the update says it.
-- KEYS: 1 chain
-- ARGV: 1 alert id, 2 states it may be in (comma before and after each), 3 revision of it that was seen, 4 id of the update,
--       5 states it may come from, 6 revision of it that was seen, 7 audience (deltas, zlib), 8 people, 9 skew, 10 keys it is sent by (of
--       its author and its approver), 11 neighbours that are asked with it, 12 number of the arguments that are fields to set on the
--       alert, 13... these, and fields to set on the update
-- Returns: {1 or 0, the state it had; 'expired', 'changed' or 'revised' (people were told something else since it was written, or may have been:
--          its store was put back) where that is why not, which of the two stood against it: 'alert' or 'update'}
local chain, alert, update = KEYS[1], ARGV[1], ARGV[4]
local alert_key, update_key = key(chain, 'version', alert), key(chain, 'version', update)
local _, misfit = standing(alert_key, ARGV[2], ARGV[3])
if misfit then return {0, misfit[2], 'alert'} end
local state, unfit = standing(update_key, ARGV[5], ARGV[6])
if unfit then return {0, unfit[2], 'update'} end
-- Phones show what has the highest number: what was told since would stand above it. One of before the store was put back may have been told
-- by its number.
local versions = versions_of(chain, alert)
local before = tonumber(string.match(redis.call('HGET', chain, 'lives') or '', '(%d+):%d+$') or '0')
if versions[#versions] ~= update or #versions <= before then return {0, 'revised', 'update'} end
local now, fields = chain_now(chain, ARGV[9]), tonumber(ARGV[12])
if has_ended(chain, redis.call('HGET', alert_key, 'expires'), now) then return {0, 'expired', 'alert'} end
if has_ended(chain, redis.call('HGET', update_key, 'expires'), now) then return {0, 'expired', 'update'} end

take_place(chain, alert, update, now)
redis.call('HSET', chain, 'keys', ARGV[10])
redis.call('HDEL', chain, 'paused')
redis.call('HSET', alert_key, unpack(ARGV, 13, 12 + fields))
tell(chain, alert, now, 'updated', {rev = tostring(redis.call('HINCRBY', alert_key, 'rev', 1))})
ask(chain, alert, now, ARGV[11])
redis.call('SET', key(chain, 'area', alert), redis.call('GET', key(chain, 'area', update)))
redis.call('SET', key(chain, 'audience', update), ARGV[7])
redis.call('HSET', update_key, 'restricted', redis.call('HGET', alert_key, 'restricted') or 0, 'people', ARGV[8], unpack(ARGV, 13 + fields))
open_gate(chain, update, now)
return {1, state, 'update'}

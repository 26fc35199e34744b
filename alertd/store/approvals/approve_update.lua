-- Approves an update: opens its gate and closes the gates of all earlier versions of the alert. If messages of these are still queued, only
-- the update notifies their recipients. From now on the alert has the update's content and area.
-- KEYS: 1 chain (an alert with its versions)
-- ARGV: 1 alert id, 2 states it may be in (comma before and after each), 3 revision of the alert that the caller read, 4 id of the update,
--       5 states the update may come from, 6 revision of the update that the caller read, 7 audience (deltas, zlib), 8 number of people,
--       9 skew, 10 API keys of the update's author and approver, 11 neighbour organisations that it asks for permission, 12 number of
--       arguments that are fields of the alert, 13... the fields of the alert, then the fields of the update
-- Returns: {1 or 0; the update's earlier state, or the reason for a refusal: a state, 'expired', 'changed', or 'revised' (another version
--          was sent since it was written, or may have been before a restore); 'alert' or 'update': which of the two the state or reason is
--          about}
local chain, alert, update = KEYS[1], ARGV[1], ARGV[4]
local alert_key, update_key = key(chain, 'version', alert), key(chain, 'version', update)
local _, misfit = check_state(alert_key, ARGV[2], ARGV[3])
if misfit then return {0, misfit[2], 'alert'} end
local state, unfit = check_state(update_key, ARGV[5], ARGV[6])
if unfit then return {0, unfit[2], 'update'} end
-- Phones show the version with the highest number, so a version sent after this update was written would hide it. A version from before a
-- restore may have been sent under this update's number.
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
record_event(chain, alert, now, 'updated', {rev = tostring(redis.call('HINCRBY', alert_key, 'rev', 1))})
ask(chain, alert, now, ARGV[11])
redis.call('SET', key(chain, 'area', alert), redis.call('GET', key(chain, 'area', update)))
redis.call('SET', key(chain, 'audience', update), ARGV[7])
redis.call('HSET', update_key, 'restricted', redis.call('HGET', alert_key, 'restricted') or 0, 'people', ARGV[8], unpack(ARGV, 13 + fields))
open_gate(chain, update, now)
return {1, state, 'update'}

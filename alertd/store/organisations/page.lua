-- Stores the pages about a version, unless another process changed them since they were read. The version must wait for its second person, or
-- another organisation must ask to stand it down. A page is an event, not a row of a ledger.
-- KEYS: 1 chain (an alert with its versions)
-- ARGV: 1 alert id, 2 record that the caller read ('' for none), 3 new record, 4 skew, 5 type of the event ('' for none),
--       6 number of the step in the event ('' for none)
-- Returns: 'done', 'changed' if the record was changed since, 'over' if the version needs no pages any more
local chain, version_key = KEYS[1], key(KEYS[1], 'version', ARGV[1])
local state, asked = unpack(redis.call('HMGET', version_key, 'state', 'stand_down_asked'))
if state ~= 'pending' and not (ASKABLE[state] and (asked or '') ~= '') then return 'over' end
local paged = key(chain, 'paged', ARGV[1])
if (redis.call('GET', paged) or '') ~= ARGV[2] then return 'changed' end
redis.call('SET', paged, ARGV[3])
if ARGV[5] ~= '' then record_event(chain, ARGV[1], chain_now(chain, ARGV[4]), ARGV[5], {step = ARGV[6]}) end
return 'done'

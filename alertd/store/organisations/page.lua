-- Stores the pages about a version, if nobody changed them since they were read. The version must wait for its second person, or another
-- organisation must ask to stand it down. A page is an event, not a row of a ledger.
-- KEYS: 1 chain
-- ARGV: 1 alert id, 2 what was seen ('' for nothing), 3 what there is from now on, 4 skew, 5 what the event is called ('' for none),
--       6 number of the step that it tells of ('' for none)
-- Returns: 'done', 'changed' where it is another since, 'over' if nobody is paged about the version
local chain, version_key = KEYS[1], key(KEYS[1], 'version', ARGV[1])
local state, asked = unpack(redis.call('HMGET', version_key, 'state', 'stand_down_asked'))
if state ~= 'pending' and not (ASKABLE[state] and (asked or '') ~= '') then return 'over' end
local paged = key(chain, 'paged', ARGV[1])
if (redis.call('GET', paged) or '') ~= ARGV[2] then return 'changed' end
redis.call('SET', paged, ARGV[3])
if ARGV[5] ~= '' then tell(chain, ARGV[1], chain_now(chain, ARGV[4]), ARGV[5], {step = ARGV[6]}) end
return 'done'

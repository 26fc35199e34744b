-- What is known of the people on call who are told of a version, in place of what was seen, while it waits for its second person. A page
-- is an event; it is no row of a ledger.
-- KEYS: 1 chain
-- ARGV: 1 alert id, 2 what was seen ('' for nothing), 3 what there is from now on, 4 skew, 5 what the event is called ('' for none),
--       6 number of the step that it tells of ('' for none)
-- Returns: 'done', 'changed' where it is another since, 'over' where the version does not wait
local chain, version_key = KEYS[1], key(KEYS[1], 'version', ARGV[1])
if redis.call('HGET', version_key, 'state') ~= 'pending' then return 'over' end
local paged = key(chain, 'paged', ARGV[1])
if (redis.call('GET', paged) or '') ~= ARGV[2] then return 'changed' end
redis.call('SET', paged, ARGV[3])
if ARGV[5] ~= '' then tell(chain, ARGV[1], chain_now(chain, ARGV[4]), ARGV[5], {step = ARGV[6]}) end
return 'done'

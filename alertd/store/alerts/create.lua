-- Stores the first version of an alert and writes the event of its creation.
-- KEYS: 1 chain (an alert with its versions)
-- ARGV: 1 alert id, 2 area (packed), 3 org, 4 skew, 5 public id ('' for none), 6... fields of the version
-- Returns: 1, or 0 if the alert exists already (nothing is overwritten)
local chain, alert = KEYS[1], ARGV[1]
local version_key = key(chain, 'version', alert)
if redis.call('EXISTS', version_key) == 1 then return 0 end
local now = chain_now(chain, ARGV[4])
redis.call('HSET', chain, 'org', ARGV[3])
if ARGV[5] ~= '' then redis.call('HSET', chain, 'public', ARGV[5]) end
redis.call('SET', key(chain, 'area', alert), ARGV[2])
redis.call('HSET', version_key, 'created', now, 'rev', 1, unpack(ARGV, 6))
record_event(chain, alert, now, redis.call('HGET', version_key, 'state'), {rev = '1'})
return 1

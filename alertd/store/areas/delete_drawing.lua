-- Deletes a drawn region. Its number is never assigned again.
-- KEYS: 1 drawn regions, 2 counters
-- ARGV: 1 code, 2 organisation ('' for any), 3 revision that it must have ('' for any)
-- Returns: 1, 0 if it has another revision, -1 if it does not exist or belongs to another organisation
local old = redis.call('HGET', KEYS[1], ARGV[1])
if not old then return -1 end
local revision, org = string.match(old, '^%d+ (%d+) (%S+) ')
if ARGV[2] ~= '' and ARGV[2] ~= org then return -1 end
if ARGV[3] ~= '' and ARGV[3] ~= revision then return 0 end
redis.call('HDEL', KEYS[1], ARGV[1])
redis.call('HINCRBY', KEYS[2], 'drawings', 1)
return 1

-- Deletes a drawn region. Its number is not given again: the counter of numbers stays.
-- KEYS: 1 drawn regions, 2 counters
-- ARGV: 1 code, 2 organisation ('' for any), 3 revision that must be there ('' for any)
-- Returns: 1, 0 when the revision is another, -1 when there is none, or it is another organisation's
local old = redis.call('HGET', KEYS[1], ARGV[1])
if not old then return -1 end
local revision, org = string.match(old, '^%d+ (%d+) (%S+) ')
if ARGV[2] ~= '' and ARGV[2] ~= org then return -1 end
if ARGV[3] ~= '' and ARGV[3] ~= revision then return 0 end
redis.call('HDEL', KEYS[1], ARGV[1])
redis.call('HINCRBY', KEYS[2], 'drawings', 1)
return 1

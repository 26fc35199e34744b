-- The next revision of an organisation's own texts, if nobody made one since they were read. Revisions are numbered from 1
-- and never changed, so that alerts can hold on to theirs.
-- KEYS: 1 texts of an organisation
-- ARGV: 1 revision that was read, 2 all texts, sealed
-- Returns: 1 or 0
if redis.call('HLEN', KEYS[1]) ~= tonumber(ARGV[1]) then return 0 end
redis.call('HSET', KEYS[1], ARGV[1] + 1, ARGV[2])
return 1

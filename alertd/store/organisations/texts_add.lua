-- Adds the next revision of an organisation's own texts, unless another one was added since the caller read them. Revisions are numbered
-- from 1 and never change, so that an alert keeps its texts.
-- KEYS: 1 texts of an organisation
-- ARGV: 1 revision that the caller read, 2 all texts, sealed
-- Returns: 1 or 0
if redis.call('HLEN', KEYS[1]) ~= tonumber(ARGV[1]) then return 0 end
redis.call('HSET', KEYS[1], ARGV[1] + 1, ARGV[2])
return 1

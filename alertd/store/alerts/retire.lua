-- Lets a chain go that has no work left, unless it was announced again since that was seen.
-- KEYS: 1 chains with work, each with how often it was announced
-- ARGV: 1 chain, 2 how often it was announced when its versions were looked at
-- Returns: 1, or 0 when it stays
if redis.call('HGET', KEYS[1], ARGV[1]) ~= ARGV[2] then return 0 end
return redis.call('HDEL', KEYS[1], ARGV[1])

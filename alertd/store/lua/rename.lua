-- Keeps what belongs to an old name under the new one, with its time to live.
-- KEYS: 1 old name, 2 new name
-- ARGV: none
-- Returns: 1, or 0 if nothing is there any more
if redis.call('EXISTS', KEYS[1]) == 0 then return 0 end
redis.call('RENAME', KEYS[1], KEYS[2])
return 1

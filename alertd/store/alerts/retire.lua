-- Removes an alert without work from the active alerts, unless it was announced again since the caller read the count.
-- KEYS: 1 active alerts, each with its number of announcements
-- ARGV: 1 id of the first version, 2 number of announcements that the caller read
-- Returns: 1, or 0 if the alert stays
if redis.call('HGET', KEYS[1], ARGV[1]) ~= ARGV[2] then return 0 end
return redis.call('HDEL', KEYS[1], ARGV[1])

-- Stores the track of one alert at a distributor, unless it was changed since the caller read it. Writes the organisation's events about it in
-- the same step. May queue the alert for another check.
-- KEYS: 1 the distributor's state, 2 its queue, 3 tries, 4 given-up entries, 5 tracks of the alert, 6 holders of alerts, 7 events, 8 their numbers
-- ARGV: 1 distributor, 2 track that the caller read ('' for none), 3 new track, 4 alert, 5 since when it owes a take-down (ms), 0 if it only
--       has the alert, '' if neither, 6 now (ms), 7 time of the next check (ms, '' for none), 8 number of changes of its address that the
--       caller read ('' for any: nothing is sent), 9... events
-- Returns: 1, or 0 if the track was changed, or the document would go to an old address
if (redis.call('HGET', KEYS[5], ARGV[1]) or '') ~= ARGV[2] then return 0 end
local way = redis.call('HMGET', KEYS[1], 'queued', 'way')
if ARGV[8] ~= '' and not (way[1] and (way[2] or '0') == ARGV[8]) then return 0 end
redis.call('HSET', KEYS[5], ARGV[1], ARGV[3])
local name = ARGV[1] .. ' ' .. ARGV[4]
if ARGV[5] == '' then
  redis.call('HDEL', KEYS[6], name)
else
  redis.call('HSET', KEYS[6], name, ARGV[5])
end
if ARGV[7] ~= '' and way[1] then queue_for_hook(KEYS, ARGV[7], ARGV[4]) end
for i = 9, #ARGV do add_event(KEYS[7], KEYS[8], ARGV[6], ARGV[i]) end
return 1

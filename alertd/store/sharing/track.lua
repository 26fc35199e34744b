-- Writes what a distributor has of one alert, if it is as it was seen, and tells of it among the organisation's events in the same step. Where it is
-- to be looked at again, that waits from then on.
-- KEYS: 1 the distributor's state, 2 its queue, 3 tries of what is in it, 4 what was given up, 5 what distributors have of the alert, 6 those who have something that is told or is to be taken down, 7 events, 8 their numbers
-- ARGV: 1 distributor, 2 what was seen ('' for nothing), 3 what it is now, 4 alert, 5 ms since when it owes a take-down, 0 where it only has it,
--       '' where neither, 6 now (ms), 7 ms at which it is looked at again ('' not to be), 8 how often its way was changed, as it was seen ('' for
--       any: nothing is sent), 9... events
-- Returns: 1, or 0 where it was changed, or what is to be sent would go a way that is no more
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
if ARGV[7] ~= '' and way[1] then let_wait(KEYS, ARGV[7], ARGV[4]) end
for i = 9, #ARGV do add_event(KEYS[7], KEYS[8], ARGV[6], ARGV[i]) end
return 1

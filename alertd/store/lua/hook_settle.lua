-- What became of one try to tell a webhook an event: told, to be tried again, or given up. A webhook that is to be asked no more is
-- turned off, and its organisation's events say so in the same step; what is queued waits.
-- KEYS: 1 the webhook's state, 2 its queue, 3 tries of what is in it, 4 what was given up, 5 events, 6 number of the last of them
-- ARGV: 1 number of the event, 2 "told", "again" or "never", 3 now (ms), 4 when it is due again (ms), 5 how often it was tried, and first
--       when, 6 the answer's status (0: none), 7 why it is to be turned off ('' not to be), 8 the event that says so, 9 the most that
--       are remembered of what was given up
-- Returns: 1 where it was turned off, else 0
local number, word, now = ARGV[1], ARGV[2], ARGV[3]
if redis.call('EXISTS', KEYS[1]) == 0 then return 0 end
redis.call('HSET', KEYS[1], 'answered', ARGV[6], 'tried', now)
if word == 'told' then
  redis.call('HDEL', KEYS[1], 'failing')
else
  redis.call('HSETNX', KEYS[1], 'failing', now)
end
if word == 'again' then
  redis.call('ZADD', KEYS[2], 'XX', ARGV[4], number)
  redis.call('HSET', KEYS[3], number, ARGV[5])
else
  redis.call('ZREM', KEYS[2], number)
  redis.call('HDEL', KEYS[3], number)
end
if word == 'never' then
  redis.call('ZADD', KEYS[4], now, number)
  redis.call('ZREMRANGEBYRANK', KEYS[4], 0, -1 - ARGV[9])
end
if ARGV[7] == '' or redis.call('HSETNX', KEYS[1], 'off', now) == 0 then return 0 end
redis.call('HSET', KEYS[1], 'why', ARGV[7])
add_event(KEYS[5], KEYS[6], now, ARGV[8])
return 1

-- What became of one try to tell a webhook an event, or a distributor an alert: told, to be tried again, or given up. What was queued again since
-- stays as it is: the try knew nothing of why. A webhook that is to be asked no more is turned off, and its organisation's events say so in the
-- same step; what is queued waits.
-- KEYS: 1 the webhook's state, 2 its queue, 3 tries of what is in it, 4 what was given up, 5 events, 6 number of the last of them
-- ARGV: 1 what was tried: number of the event, or the alert, 2 "told", "again" or "never", 3 now (ms), 4 when it is due again (ms), 5 how often it
--       was tried, and first when, 6 the answer's status (0: none, '': nothing was asked), 7 why it is to be turned off ('' not to be), 8 the event
--       that says so, 9 the most that are remembered of what was given up, 10 the turn in which it was queued
-- Returns: 1 where it was turned off, else 0
local name, word, now = ARGV[1], ARGV[2], ARGV[3]
if redis.call('EXISTS', KEYS[1]) == 0 then return 0 end
if ARGV[6] ~= '' then
  redis.call('HSET', KEYS[1], 'answered', ARGV[6], 'tried', now)
  if word == 'told' then
    redis.call('HDEL', KEYS[1], 'failing')
  else
    redis.call('HSETNX', KEYS[1], 'failing', now)
  end
end
local turn = string.match(redis.call('HGET', KEYS[3], name) or '', '^%d+ %d+ (%d+)$') or '0'
if turn == ARGV[10] then
  if word == 'again' then
    redis.call('ZADD', KEYS[2], 'XX', ARGV[4], name)
    redis.call('HSET', KEYS[3], name, ARGV[5] .. ' ' .. turn)
  else
    redis.call('ZREM', KEYS[2], name)
    redis.call('HDEL', KEYS[3], name)
  end
  if word == 'never' then
    redis.call('ZADD', KEYS[4], now, name)
    redis.call('ZREMRANGEBYRANK', KEYS[4], 0, -1 - ARGV[9])
  end
end
if ARGV[7] == '' or redis.call('HSETNX', KEYS[1], 'off', now) == 0 then return 0 end
redis.call('HSET', KEYS[1], 'why', ARGV[7])
add_event(KEYS[5], KEYS[6], now, ARGV[8])
return 1

-- Stores the result of one try to send an event to a webhook, or an alert to a distributor: accepted, retry, or given up. An entry that was
-- queued again since stays queued, because this try did not know of the reason. May turn the webhook off, and then writes the event about it
-- in the same step; its queue stays.
-- KEYS: 1 the webhook's state, 2 its queue, 3 tries of the entries, 4 given-up entries, 5 events, 6 number of the last event
-- ARGV: 1 entry: number of the event, or the alert, 2 "told", "again" or "never", 3 now (ms), 4 time of the next try (ms), 5 number of
--       tries and time of the first, 6 status of the answer (0: no answer, '': nothing was sent), 7 reason to turn the webhook off ('' to keep
--       it on), 8 the event about that, 9 maximum number of given-up entries, 10 the turn of the entry
-- Returns: 1 if the webhook was turned off, else 0
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

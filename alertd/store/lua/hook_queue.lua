-- Puts events into a webhook's queue, up to a number, if nobody did so since it was looked at. What is in it already keeps its time.
-- KEYS: 1 the webhook's state, 2 its queue
-- ARGV: 1 number of the event that it was queued up to, 2 and is now, 3 ms at which they are due, 4... numbers of events
-- Returns: 1, or 0 where it is gone or was queued further
if redis.call('HGET', KEYS[1], 'queued') ~= ARGV[1] then return 0 end
redis.call('HSET', KEYS[1], 'queued', ARGV[2])
for i = 4, #ARGV do redis.call('ZADD', KEYS[2], 'NX', ARGV[3], ARGV[i]) end
return 1

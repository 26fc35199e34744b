-- Lets events wait for a webhook, or alerts for a distributor, due now and as if they had never been tried; up to a number of its organisation's
-- events, if nobody did so since it was looked at.
-- KEYS: 1 the webhook's state, 2 its queue, 3 tries of what is in it, 4 what was given up
-- ARGV: 1 number of the event that it was queued up to, 2 and is now ('' for both where that stays), 3 ms at which they are due, 4... what
--       waits: numbers of events, or alerts
-- Returns: 1, or 0 where it is gone or was queued further
local queued = redis.call('HGET', KEYS[1], 'queued')
if not queued or (ARGV[1] ~= '' and queued ~= ARGV[1]) then return 0 end
if ARGV[2] ~= '' then redis.call('HSET', KEYS[1], 'queued', ARGV[2]) end
for i = 4, #ARGV do let_wait(KEYS, ARGV[3] - 1 + i / 1000, ARGV[i]) end -- in order, within the millisecond before
return 1

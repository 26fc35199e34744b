-- Queues events for a webhook, or alerts for a distributor, due at the given time and without earlier tries. Also moves the number of the
-- last queued event. Does nothing if another process moved it since the caller read it.
-- KEYS: 1 the webhook's state, 2 its queue, 3 tries of the entries, 4 given-up entries
-- ARGV: 1 number of the last queued event that the caller read, 2 the new one ('' for both to keep it), 3 due time (ms), 4... entries:
--       numbers of events, or alerts
-- Returns: 1, or 0 if the webhook is gone or its events were queued further
local queued = redis.call('HGET', KEYS[1], 'queued')
if not queued or (ARGV[1] ~= '' and queued ~= ARGV[1]) then return 0 end
if ARGV[2] ~= '' then redis.call('HSET', KEYS[1], 'queued', ARGV[2]) end
for i = 4, #ARGV do queue_for_hook(KEYS, ARGV[3] - 1 + i / 1000, ARGV[i]) end -- in order, within the millisecond before
return 1

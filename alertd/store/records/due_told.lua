-- Returns the alerts of a shard with events that are due to be read, and gives the caller alone a time to read them. A later announcement
-- changes the due time, so the caller notices it. If none is due, returns alerts with a due time too far away, because the store's clock
-- was set back.
-- KEYS: 1 announced alerts (ids of first versions)
-- ARGV: 1 maximum number, 2 longest wait of an alert (ms), 3 how long the caller holds them (ms), 4 skew
-- Returns: {end of the hold (ms), alert, its due time (0: announced), ...}
local now = now_ms(ARGV[4])
local found = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', now, 'WITHSCORES', 'LIMIT', 0, ARGV[1])
if #found == 0 then
  local late = '(' .. string.format('%.0f', now + ARGV[2])
  found = redis.call('ZRANGEBYSCORE', KEYS[1], late, '+inf', 'WITHSCORES', 'LIMIT', 0, ARGV[1])
end
local held = string.format('%.0f', now + ARGV[3])
for i = 1, #found, 2 do redis.call('ZADD', KEYS[1], held, found[i]) end
return {held, unpack(found)}

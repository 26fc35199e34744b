-- Adds events of alerts to their organisation's stream, each once. Deletes events of the stream that are too many or too old.
-- KEYS: 1 stream, 2 number of the last event of each alert, and of the stream
-- ARGV: 1 skew, 2 maximum number of events, 3 maximum age (ms), 4... alert (id of the first version), number in the alert, event, ...
-- Returns: number of the last event
local now = now_ms(ARGV[1])
for i = 4, #ARGV, 3 do
  local chain, number, event = ARGV[i], ARGV[i + 1], ARGV[i + 2]
  if tonumber(number) > tonumber(redis.call('HGET', KEYS[2], chain) or '0') then
    add_event(KEYS[1], KEYS[2], now, event)
    redis.call('HSET', KEYS[2], chain, number)
  end
end
redis.call('XTRIM', KEYS[1], 'MAXLEN', ARGV[2])
local function first()
  local entry = redis.call('XRANGE', KEYS[1], '-', '+', 'COUNT', 1)[1]
  return entry and now - tonumber(entry[2][2]) > tonumber(ARGV[3]) and entry[1]
end
for _ = 1, 1000 do -- at most 1,000 a call, because deleting a hundred thousand would block the server
  local old = first()
  if not old then break end
  redis.call('XDEL', KEYS[1], old)
end
return tonumber(redis.call('HGET', KEYS[2], 'last') or '0')

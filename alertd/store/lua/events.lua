-- Adds what happened to a chain to its organisation's events, each once, and lets go of those that are too many or too old.
-- KEYS: 1 events, 2 how far each chain's have got, and the number of the last event
-- ARGV: 1 chain ('' for none), 2 skew, 3 the most events that are kept, 4 ms that they are kept, 5... pairs: number in the chain, event
-- Returns: number of the last event
local now = now_ms(ARGV[2])
local seen = tonumber(redis.call('HGET', KEYS[2], ARGV[1]) or '0')
for i = 5, #ARGV, 2 do
  if tonumber(ARGV[i]) > seen then
    add_event(KEYS[1], KEYS[2], now, ARGV[i + 1])
    if ARGV[1] ~= '' then redis.call('HSET', KEYS[2], ARGV[1], ARGV[i]) end
  end
end
redis.call('XTRIM', KEYS[1], 'MAXLEN', ARGV[3])
local function first()
  local entry = redis.call('XRANGE', KEYS[1], '-', '+', 'COUNT', 1)[1]
  return entry and now - tonumber(entry[2][2]) > tonumber(ARGV[4]) and entry[1]
end
local old = first()
while old do
  redis.call('XDEL', KEYS[1], old)
  old = first()
end
return tonumber(redis.call('HGET', KEYS[2], 'last') or '0')

-- Adds what happened to chains to their organisation's events, each once, and lets go of those that are too many or too old.
-- KEYS: 1 events, 2 how far each chain's have got, and the number of the last event
-- ARGV: 1 skew, 2 the most events that are kept, 3 ms that they are kept, 4... chain, number in the chain, event in turn
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
for _ = 1, 1000 do -- the rest goes the next times: nobody waits for a hundred thousand
  local old = first()
  if not old then break end
  redis.call('XDEL', KEYS[1], old)
end
return tonumber(redis.call('HGET', KEYS[2], 'last') or '0')

-- Spends units of the budgets of an alert and of its organisation's day, or gives some back.
-- KEYS: 1 units that the alert has spent, 2 units spent on the day
-- ARGV: 1 messages wanted (below 0: given back), 2 units each, 3 maximum units of the alert, 4 maximum units of the day (0: no limit),
--       5 and 6 ms for which each count is stored
-- Returns: number of messages that may be sent
local wanted, each = tonumber(ARGV[1]), tonumber(ARGV[2])
if redis.call('HEXISTS', KEYS[1], 'free') == 0 then
  for i = 1, 2 do
    local most = tonumber(ARGV[2 + i])
    if most > 0 then
      local room = most - tonumber(redis.call('HGET', KEYS[i], 'units') or '0')
      wanted = math.min(wanted, math.max(math.floor(room / each), 0))
    end
  end
end
for i = 1, 2 do
  redis.call('HINCRBY', KEYS[i], 'units', wanted * each)
  redis.call('PEXPIRE', KEYS[i], ARGV[4 + i])
end
return wanted

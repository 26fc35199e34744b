-- Stores when the events of each alert that was read are due again, or removes the alert. Skips an alert that was announced meanwhile.
-- KEYS: 1 announced alerts (ids of first versions)
-- ARGV: 1 skew, 2... alert, end of the caller's hold, wait in ms ('' to remove it), ...
-- Returns: the removed alerts
local now, gone = now_ms(ARGV[1]), {}
for i = 2, #ARGV, 3 do
  local chain, held, wait = ARGV[i], ARGV[i + 1], ARGV[i + 2]
  if redis.call('ZSCORE', KEYS[1], chain) == held then
    if wait == '' then
      redis.call('ZREM', KEYS[1], chain)
      table.insert(gone, chain)
    else
      redis.call('ZADD', KEYS[1], string.format('%.0f', now + wait), chain)
    end
  end
end
return gone

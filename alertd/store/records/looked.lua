-- Chains were looked at: when each is due again, or that it is let go. One that was announced meanwhile stays as it is.
-- KEYS: 1 chains to which something happens
-- ARGV: 1 skew, 2... chain, until when it is held, ms that it waits ('' to let it go) in turn
-- Returns: the chains that were let go
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

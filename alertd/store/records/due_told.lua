-- Chains of a shard that are to be looked at for what happened to them, each held for whoever looks: whatever is announced from now
-- on differs from that. Where the store's clock was set back, those are due as well that would else be for longer than anybody waits.
-- KEYS: 1 chains to which something happens
-- ARGV: 1 the most to give, 2 ms that anybody waits at most, 3 ms that they are held, 4 skew
-- Returns: {ms until which they are held, chain and when it was due (0: as it was announced) in turn}
local now = now_ms(ARGV[4])
local found = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', now, 'WITHSCORES', 'LIMIT', 0, ARGV[1])
if #found == 0 then
  local late = '(' .. string.format('%.0f', now + ARGV[2])
  found = redis.call('ZRANGEBYSCORE', KEYS[1], late, '+inf', 'WITHSCORES', 'LIMIT', 0, ARGV[1])
end
local held = string.format('%.0f', now + ARGV[3])
for i = 1, #found, 2 do redis.call('ZADD', KEYS[1], held, found[i]) end
return {held, unpack(found)}

-- From schema 2 on to 3: the chains to which something happens, a hash before, by when they are looked at: now.
-- KEYS: 1 chains to which something happens
-- ARGV: none
-- Returns: how many were taken over
if redis.call('TYPE', KEYS[1]).ok ~= 'hash' then return 0 end
local chains = redis.call('HKEYS', KEYS[1])
redis.call('DEL', KEYS[1])
for _, chain in ipairs(chains) do redis.call('ZADD', KEYS[1], 0, chain) end
return #chains

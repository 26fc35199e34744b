-- Since when whatever is in flight of a chain could be settled without a gap, as far as a version waits for that.
-- KEYS: 1 chain
-- ARGV: 1 skew
-- Returns: ms by the chain's clock, and how many gaps there were since a version took the place of what told the alert before
local chain = KEYS[1]
chain_now(chain, ARGV[1]) -- first: a gap that nobody noticed yet is one
local steady, gaps = unpack(redis.call('HMGET', chain, 'steady', 'gaps'))
return {tonumber(steady or '0'), tonumber(gaps or '0')}

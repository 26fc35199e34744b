-- Returns since when workers could settle the alert's messages in flight without a gap. An update waits for that.
-- KEYS: 1 chain (an alert with its versions)
-- ARGV: 1 skew
-- Returns: ms of the alert's clock, and the number of gaps since an update replaced the version before it
local chain = KEYS[1]
chain_now(chain, ARGV[1]) -- first, because it records a gap that was not recorded yet
local steady, gaps = unpack(redis.call('HMGET', chain, 'steady', 'gaps'))
return {tonumber(steady or '0'), tonumber(gaps or '0')}

-- What the server's clock shows, and by how much it was set back. That is kept as for a chain, and asked for every second by every process: so they
-- all wait by the same clock, whoever begins after the step, too.
-- KEYS: 1 the steady clock
-- ARGV: 1 skew
-- Returns: seconds and microseconds by the server's clock, ms by which the steady one is ahead of it
pcall(chain_now, KEYS[1], ARGV[1]) -- a store that takes no writes still shows its time
local t = redis.call('TIME')
return {t[1], t[2], redis.call('HGET', KEYS[1], 'ahead') or 0}

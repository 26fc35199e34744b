-- Returns the server's time, and by how much its clock was set back. The step back is stored as for a chain. Every
-- process calls this every second, so all of them wait by the same clock, also a process that starts after the step.
-- KEYS: 1 the steady clock
-- ARGV: 1 skew
-- Returns: {seconds and microseconds of the server's clock, ms by which the steady clock is ahead of it}
pcall(chain_now, KEYS[1], ARGV[1]) -- a store that takes no writes still shows its time
local t = redis.call('TIME')
return {t[1], t[2], redis.call('HGET', KEYS[1], 'ahead') or 0}

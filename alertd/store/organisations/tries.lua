-- Counts a try at what can be guessed, unless one must wait: after so many that are free, twice as long each time.
-- KEYS: 1 the tries of one operator or one caller
-- ARGV: 1 tries that are free, 2 longest wait in ms, 3 ms after which all is forgotten, 4 skew
-- Returns: 0, or ms to wait where it was not counted
local now = now_ms(ARGV[4])
local till = tonumber(redis.call('HGET', KEYS[1], 'until') or '0')
if till > now then return till - now end
local over = redis.call('HINCRBY', KEYS[1], 'tries', 1) - tonumber(ARGV[1])
if over >= 0 then
  redis.call('HSET', KEYS[1], 'until', now + math.min(tonumber(ARGV[2]), 1000 * 2 ^ math.min(over, 30)))
end
redis.call('PEXPIRE', KEYS[1], ARGV[3])
return 0

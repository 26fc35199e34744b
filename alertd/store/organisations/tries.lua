-- Counts a try to guess a secret, unless the caller must wait. After the free tries the wait doubles with each try.
-- KEYS: 1 the tries of one operator or one caller
-- ARGV: 1 number of free tries, 2 longest wait in ms, 3 ms without a try after which the count is deleted, 4 skew
-- Returns: 0, or the ms to wait if the try was not counted
local now = now_ms(ARGV[4])
local till = tonumber(redis.call('HGET', KEYS[1], 'until') or '0')
if till > now then return till - now end
local over = redis.call('HINCRBY', KEYS[1], 'tries', 1) - tonumber(ARGV[1])
if over >= 0 then
  redis.call('HSET', KEYS[1], 'until', now + math.min(tonumber(ARGV[2]), 1000 * 2 ^ math.min(over, 30)))
end
redis.call('PEXPIRE', KEYS[1], ARGV[3])
return 0

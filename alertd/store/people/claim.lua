-- Claims a name (an address or an id) for a subscriber, unless another subscriber has it.
-- KEYS: 1 name, 2 its other name during a key rotation: the script uses this one if it exists
-- ARGV: 1 wanted claim (bytes, the subscriber's number first), 2 claim that it may replace ('' for none), 3 "1" to replace the subscriber's own
-- Returns: the claim that is stored now
local HOLDER = 5 -- bytes
local name = KEYS[2] and redis.call('EXISTS', KEYS[2]) == 1 and KEYS[2] or KEYS[1]
local standing = redis.call('GET', name)
local is_own = standing and standing:sub(1, HOLDER) == ARGV[1]:sub(1, HOLDER)
if not standing or standing == ARGV[2] or (is_own and ARGV[3] == '1') then
  redis.call('SET', name, ARGV[1])
  return ARGV[1]
end
return standing

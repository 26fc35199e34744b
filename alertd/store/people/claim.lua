-- Claims a name (an address, an id) for a subscriber, or says who has it.
-- KEYS: 1 name, 2 its other name, while a name key is joining: if it exists, it is used
-- ARGV: 1 claim wanted (bytes, the holder's number first), 2 claim it may replace ('' for none), 3 "1" to renew one's own
-- Returns: the claim that stands
local HOLDER = 5 -- bytes
local name = KEYS[2] and redis.call('EXISTS', KEYS[2]) == 1 and KEYS[2] or KEYS[1]
local standing = redis.call('GET', name)
local is_own = standing and standing:sub(1, HOLDER) == ARGV[1]:sub(1, HOLDER)
if not standing or standing == ARGV[2] or (is_own and ARGV[3] == '1') then
  redis.call('SET', name, ARGV[1])
  return ARGV[1]
end
return standing

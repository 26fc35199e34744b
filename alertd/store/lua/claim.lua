-- Claims a name (an address, an id) for a subscriber, or says who has it.
-- KEYS: 1 name
-- ARGV: 1 claim wanted (bytes), 2 claim it may replace ('' for none)
-- Returns: the claim that stands
local standing = redis.call('GET', KEYS[1])
if not standing or standing == ARGV[2] then
  redis.call('SET', KEYS[1], ARGV[1])
  return ARGV[1]
end
return standing

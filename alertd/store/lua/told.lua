-- What happened to a chain and is not among its organisation's events yet, oldest first. What has got there is forgotten.
-- KEYS: 1 chain
-- ARGV: 1 number of the last that has got there, 2 the most to give
-- Returns: {organisation, events (JSON) each}
local chain, told = KEYS[1], key(KEYS[1], 'told')
local first = redis.call('LINDEX', told, 0)
while first and tonumber(cjson.decode(first).n) <= tonumber(ARGV[1]) do
  redis.call('LPOP', told)
  first = redis.call('LINDEX', told, 0)
end
return {redis.call('HGET', chain, 'org') or '', unpack(redis.call('LRANGE', told, 0, ARGV[2] - 1))}

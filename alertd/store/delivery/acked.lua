-- Who has an alert on a screen, as it was last shown to everybody.
-- KEYS: 1 chain
-- ARGV: 1 alert id, 2... numbers of subscribers
-- Returns: "1" or "0" a subscriber
local bits, found = key(KEYS[1], 'acked', shown_anew(KEYS[1], ARGV[1])), {}
for i = 2, #ARGV do
  local number = tonumber(ARGV[i])
  found[#found + 1] = number < BITS and redis.call('GETBIT', bits, ARGV[i]) or 0 -- of the others nothing is noted
end
return table.concat(found)

-- Returns which subscribers acknowledged the version of the alert that was last shown to all recipients.
-- KEYS: 1 chain (an alert with its versions)
-- ARGV: 1 alert id, 2... subscriber numbers
-- Returns: "1" or "0" for each subscriber
local bits, found = key(KEYS[1], 'acked', shown_anew(KEYS[1], ARGV[1])), {}
for i = 2, #ARGV do
  local number = tonumber(ARGV[i])
  found[#found + 1] = number < BITS and redis.call('GETBIT', bits, ARGV[i]) or 0 -- larger numbers have no bit
end
return table.concat(found)

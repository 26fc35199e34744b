-- Changes the address of a distributor, or deletes it with its queue, unless it has an active alert or must still take one down.
-- KEYS: 1 its state, 2 its queue, 3 tries of the entries, 4 given-up entries, 5 holders of alerts, 6 distributors, sealed
-- ARGV: 1 distributor, 2 record that the caller read, sealed ('' for any), 3 new record, sealed ('' to delete it), 4 number of changes of
--       its address
-- Returns: 1, 0 if it is gone or was changed, -1 if it has an alert or must take one down
local seen = redis.call('HGET', KEYS[6], ARGV[1])
if not seen or (ARGV[2] ~= '' and seen ~= ARGV[2]) then return 0 end
local own = ARGV[1] .. ' '
for _, name in ipairs(redis.call('HKEYS', KEYS[5])) do
  if string.sub(name, 1, #own) == own then return -1 end
end
if ARGV[3] == '' then
  redis.call('HDEL', KEYS[6], ARGV[1])
  redis.call('DEL', KEYS[1], KEYS[2], KEYS[3], KEYS[4])
else
  redis.call('HSET', KEYS[6], ARGV[1], ARGV[3])
  redis.call('HSET', KEYS[1], 'way', ARGV[4])
end
return 1

-- Changes the way of a distributor, or takes it away with all that waits for it, if it has nothing that it must be told the end of.
-- KEYS: 1 its state, 2 its queue, 3 tries of what is in it, 4 what was given up, 5 those who have something that is told or is to be taken down, 6 distributors, sealed
-- ARGV: 1 distributor, 2 what was seen of it, sealed ('' for whatever it is), 3 what it is now, sealed ('' where it is taken away), 4 how often its
--       way was changed by then
-- Returns: 1, 0 where it is gone or was changed, -1 where it has something
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

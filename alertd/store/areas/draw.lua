-- Stores a drawn region. A new one gets the next number. Only its own organisation may change it.
-- KEYS: 1 drawn regions, 2 counters
-- ARGV: 1 code, 2 organisation, 3 revision that it must have ('' for any, -2: it must not exist), 4 new revision, 5 maximum number of
--       regions, 6 document
-- Returns: {1, number}, {0, its revision} if that is another, {-1} if it belongs to another organisation, {-2} if there are too many
--          regions
local old = redis.call('HGET', KEYS[1], ARGV[1])
local number, revision, org
if old then
  number, revision, org = string.match(old, '^(%d+) (%d+) (%S+) ')
  if org ~= ARGV[2] then return {-1} end
end
if ARGV[3] ~= '' and ARGV[3] ~= (revision or '-2') then return {0, revision or ''} end
if not old then
  if redis.call('HLEN', KEYS[1]) >= tonumber(ARGV[5]) then return {-2} end
  number = redis.call('HINCRBY', KEYS[2], 'drawn', 1)
end
redis.call('HSET', KEYS[1], ARGV[1], number .. ' ' .. ARGV[4] .. ' ' .. ARGV[2] .. ' ' .. ARGV[6])
redis.call('HINCRBY', KEYS[2], 'drawings', 1)
return {1, tonumber(number)}

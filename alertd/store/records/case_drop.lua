-- Moves the key of a case aside, unless something was sealed under it since the caller read the list, or the case has a legal hold. No
-- process can seal or open with the key any more. It stays aside until the tombstone is on disk.
-- KEYS: 1 case, 2 ids sealed under its key, 3 new place of the key, 4 hold of the case
-- ARGV: 1... pairs: id that the caller read, and its time
-- Returns: 1, or 0 if there are more ids, or a hold
if redis.call('HEXISTS', KEYS[4], 'hold') == 1 then return 0 end
local known = {}
for i = 1, #ARGV, 2 do known[ARGV[i]] = ARGV[i + 1] end
local held = redis.call('HGETALL', KEYS[2])
for i = 1, #held, 2 do
  if known[held[i]] ~= held[i + 1] then return 0 end
end
if redis.call('EXISTS', KEYS[1]) == 1 then redis.call('RENAME', KEYS[1], KEYS[3]) end
redis.call('DEL', KEYS[2])
return 1

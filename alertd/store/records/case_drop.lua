-- Takes the key away from a case, unless something has been sealed under it since that was looked at, or somebody holds it by now. It
-- is gone for all who seal and open, and kept aside until it is written down elsewhere that it is to be destroyed.
-- KEYS: 1 case, 2 what is sealed under its key, 3 where the key is put, 4 what keeps the case
-- ARGV: 1... pairs: what was sealed then, and when
-- Returns: 1, or 0 when there is more, or a hold
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

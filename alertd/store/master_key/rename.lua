-- Renames keys; their time to live stays. If both names exist, keeps the value under the new name and deletes the other: a process that was
-- considered dead wrote the old name.
-- KEYS: 1... pairs: old name, new name
-- ARGV: none
-- Returns: number of old names that existed
local done = 0
for i = 1, #KEYS - 1, 2 do
  if redis.call('EXISTS', KEYS[i]) == 1 then
    if redis.call('RENAMENX', KEYS[i], KEYS[i + 1]) == 0 then redis.call('DEL', KEYS[i]) end
    done = done + 1
  end
end
return done

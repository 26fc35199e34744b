-- Renames keys; their time to live stays. If both names exist, a process that the others took for dead wrote the old one: the new one stays.
-- KEYS: 1... pairs: old name, new name
-- ARGV: none
-- Returns: how many old names existed
local done = 0
for i = 1, #KEYS - 1, 2 do
  if redis.call('EXISTS', KEYS[i]) == 1 then
    if redis.call('RENAMENX', KEYS[i], KEYS[i + 1]) == 0 then redis.call('DEL', KEYS[i]) end
    done = done + 1
  end
end
return done

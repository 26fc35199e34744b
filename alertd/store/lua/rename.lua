-- Keeps what belongs to old names under new ones, with its time to live.
-- KEYS: 1... pairs: old name, new name
-- ARGV: none
-- Returns: how many old names were there
local done = 0
for i = 1, #KEYS - 1, 2 do
  if redis.call('EXISTS', KEYS[i]) == 1 then
    redis.call('RENAME', KEYS[i], KEYS[i + 1])
    done = done + 1
  end
end
return done

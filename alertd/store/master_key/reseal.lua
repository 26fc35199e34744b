-- Replaces values that are sealed under the old master key by the same values under the new key. Skips a value that has changed since the
-- caller read it. Times to live stay. One step for many values, so that they share one wait for the disk.
-- KEYS: 1... the keys
-- ARGV: 1... three for each key: field of a hash ('' for a string), value that the caller read, new value
-- Returns: number of replaced values
local done = 0
for i, name in ipairs(KEYS) do
  local field, seen, fresh = ARGV[3 * i - 2], ARGV[3 * i - 1], ARGV[3 * i]
  if fresh and field == '' and redis.call('GET', name) == seen then
    redis.call('SET', name, fresh, 'KEEPTTL')
    done = done + 1
  elseif fresh and field ~= '' and redis.call('HGET', name, field) == seen then
    redis.call('HSET', name, field, fresh)
    done = done + 1
  end
end
return done

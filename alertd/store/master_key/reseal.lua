-- Replaces values under the old master key by the same under the new one, each if it has not changed. Their time to live stays.
-- One step for many values: they wait for the disk together.
-- KEYS: 1... where
-- ARGV: 1... three for each key: field of a hash ('' for a string), value that was read, new value
-- Returns: how many were replaced
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

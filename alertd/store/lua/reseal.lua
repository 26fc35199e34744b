-- Puts values that are sealed under the new master key in place of those under the old, each if it is still there. Their time to live stays.
-- All in one step: the server's disk is waited for once, not for each.
-- KEYS: 1... where
-- ARGV: 1... of each: field of a hash ('' for a string), what was seen, the same sealed anew
-- Returns: how many were still there
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

-- Deletes what people wrote, and the areas, from all versions of an alert. Ledgers (who received it and when, by number) stay.
-- KEYS: 1 chain (an alert with its versions)
-- ARGV: 1 id of the first version, 2 states it may be in (comma before and after each; '' for any, even while a version is being sent),
--       3 skew, 4 time until which the purge is allowed (ms; '' for ever): later, a person may have set a legal hold on its case, 5...
--       fields to set on the first version
-- Returns: {1 or 0, the earlier state; 'telling' if a version is still being sent, 'late' after the allowed time}
local chain = KEYS[1]
local version_key, versions = key(chain, 'version', ARGV[1]), versions_of(chain, ARGV[1])
local state = redis.call('HGET', version_key, 'state')
if not state then return {0, ''} end
if ARGV[2] ~= '' then
  if not string.find(ARGV[2], ',' .. state .. ',', 1, true) then return {0, state} end
  for _, alert in ipairs(versions) do
    if OPEN[redis.call('HGET', key(chain, 'version', alert), 'state')] then return {0, 'telling'} end
  end
end
if ARGV[4] ~= '' and now_ms(ARGV[3]) >= tonumber(ARGV[4]) then return {0, 'late'} end
local now = chain_now(chain, ARGV[3])
for _, alert in ipairs(versions) do
  local one = key(chain, 'version', alert)
  redis.call('HDEL', one, 'doc', 'external_id', 'reason', 'why', 'note', 'permission_why', 'stand_down_asked', 'granted')
  for _, field in ipairs(redis.call('HKEYS', one)) do
    if string.find(field, 'ground:', 1, true) == 1 then redis.call('HDEL', one, field) end
  end
  redis.call('HSET', one, 'regions', '', 'countries', '')
  redis.call('DEL', key(chain, 'area', alert))
  enter(chain, alert, 'purged', now)
end
redis.call('DEL', key(chain, 'published'))
redis.call('HSET', version_key, unpack(ARGV, 5))
return {1, state}

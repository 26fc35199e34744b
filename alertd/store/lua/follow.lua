-- What follows an alert: a step of its state, and the version that tells of it, both or none. Versions that told of an earlier
-- step are told no more.
-- KEYS: 1 chain
-- ARGV: 1 alert id, 2 states it may come from (comma before and after each), 3 new state ('' where it stays), 4 skew, 5 revision
--       that was seen ('' for any), 6 the chain's last version that was seen, 7 keys it is sent by, 8 id of the version that
--       tells ('' for none), 9 number of the arguments that are fields to set on the alert, 10... these, then fields of the version
-- Returns: {1 or 0, the state it had; 'changed' where that is why not, 'again' where somebody else was first}
local chain, version_key = KEYS[1], key(KEYS[1], 'version', ARGV[1])
local state, misfit = standing(version_key, ARGV[2], ARGV[5])
if misfit then return misfit end
local last = redis.call('HGET', chain, 'last') or '1'
if last ~= ARGV[6] then return {0, 'again'} end
local now, fields = chain_now(chain, ARGV[4]), tonumber(ARGV[9])

-- What is queued of an alert that is stood down is put where no lease finds it, and back when it is reopened.
local function channels()
  local found = {}
  for _, field in ipairs(redis.call('HKEYS', key(chain, 'counts', ARGV[1]))) do
    local channel = string.match(field, '^(.*)%.targeted$')
    if channel then found[#found + 1] = channel end
  end
  return found
end

local function park(channel)
  local parked, prefix = key(chain, 'parked', channel), ARGV[1] .. '/'
  for _, entry in ipairs(redis.call('LRANGE', key(chain, 'ready', channel), 0, -1)) do
    if string.sub(entry, 1, #prefix) == prefix then redis.call('ZADD', parked, now, entry .. '/' .. WHOLE) end
  end
  redis.call('DEL', key(chain, 'ready', channel)) -- the rest was of versions that are told no more
  local delayed = redis.call('ZRANGE', key(chain, 'delayed', channel), 0, -1, 'WITHSCORES')
  for i = 1, #delayed, 2 do
    if string.sub(delayed[i], 1, #prefix) == prefix then
      redis.call('ZADD', parked, delayed[i + 1], delayed[i])
      redis.call('ZREM', key(chain, 'delayed', channel), delayed[i])
    end
  end
end

local function unpark(channel)
  local parked = redis.call('ZRANGE', key(chain, 'parked', channel), 0, -1, 'WITHSCORES')
  for i = 1, #parked, 2 do redis.call('ZADD', key(chain, 'delayed', channel), parked[i + 1], parked[i]) end
  redis.call('DEL', key(chain, 'parked', channel))
end

for sequence = 2, tonumber(last) do
  local earlier = key(chain, 'version', ARGV[1] .. '-' .. sequence)
  if OPEN[redis.call('HGET', earlier, 'state')] then
    redis.call('HSET', earlier, 'state', 'superseded', 'superseded_at', now)
    redis.call('HINCRBY', earlier, 'rev', 1)
  end
end
if ARGV[3] ~= '' then
  local shelve = ARGV[3] == 'stood_down' and park or unpark
  for _, channel in ipairs(channels()) do shelve(channel) end
end
if fields > 0 then redis.call('HSET', version_key, unpack(ARGV, 10, 9 + fields)) end
if ARGV[3] ~= '' then redis.call('HSET', version_key, 'state', ARGV[3], ARGV[3] .. '_at', now, 'paused', 0) end
redis.call('HINCRBY', version_key, 'rev', 1)
redis.call('HSET', chain, 'keys', ARGV[7])
redis.call('HDEL', chain, 'paused')
if ARGV[8] ~= '' then
  redis.call('HSET', chain, 'last', last + 1)
  redis.call('HSET', key(chain, 'version', ARGV[8]), 'state', 'approved', 'created', now, 'start', now, 'rev', 1,
    'cursor', 0, 'rows', 0, 'batches', 0, 'planned', 0, unpack(ARGV, 10 + fields))
end
return {1, state}

-- What follows an alert: a step of its state or a change of what it says, and the version that tells of it, both or none. Versions
-- that told of an earlier step are told no more. The update that tells the alert itself goes the alert's way; one that waits for its
-- second person ends with it.
-- KEYS: 1 chain
-- ARGV: 1 alert id, 2 states it may come from (comma before and after each), 3 new state ('' where it stays), 4 skew, 5 revision
--       that was seen ('' for any), 6 the chain's last version that was seen, 7 keys it is sent by ('' where they stay), 8 id of the
--       version that tells ('' for none), 9 "1" where its end must be to come, 10 number of the arguments that are fields to set on the
--       alert, 11 number of those that are a version and what it says now, sealed, 12 what the event is called where the state stays ('' for none),
--       13 when the alert was changed, as was seen, 14... fields, what versions say, and the fields of the version that tells
-- Returns: {1 or 0, the state it had; 'changed' or 'expired' where that is why not, 'again' where somebody else was first}
local chain, version_key = KEYS[1], key(KEYS[1], 'version', ARGV[1])
local state, misfit = standing(version_key, ARGV[2], ARGV[5])
if misfit then return misfit end
local last = redis.call('HGET', chain, 'last') or '1'
local changes = redis.call('HGET', version_key, 'changes') or ''
if last ~= ARGV[6] or changes ~= ARGV[13] then return {0, 'again'} end -- the version that tells has its words from what was seen
local teller = redis.call('HGET', chain, 'teller') or ARGV[1]
local now, fields, said = chain_now(chain, ARGV[4]), tonumber(ARGV[10]), tonumber(ARGV[11])
if ARGV[9] == '1' and has_ended(chain, redis.call('HGET', version_key, 'expires'), now) then return {0, 'expired'} end

-- What is queued of an alert that is stood down is put where no lease finds it, and back when it is reopened: an update that tells it may
-- have channels that the alert itself has not.
local function channels()
  local found = {}
  for _, version in ipairs({ARGV[1], teller}) do
    for _, field in ipairs(redis.call('HKEYS', key(chain, 'counts', version))) do
      local channel = string.match(field, '^(.*)%.targeted$')
      if channel then found[channel] = true end
    end
  end
  return found
end

local function park(channel)
  local parked, prefix = key(chain, 'parked', channel), teller .. '/'
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

-- Whether a version takes words off the screens: where the end is told later, nothing else does until then.
local function hides(version)
  local occasion, follows, notify, restricted =
    unpack(redis.call('HMGET', key(chain, 'version', version), 'occasion', 'follows', 'notify', 'restricted'))
  return occasion == 'stand-down' or (follows == 'alert update' and (notify or '') == '' and (restricted or '0') ~= '0')
end

local function becomes(version, was)
  if version == teller then return ARGV[3] ~= '' and KNOWN[was] and ARGV[3] or nil end
  if QUEUED_BECOMES[ARGV[3]] and UNDECIDED[was] then return 'rejected' end
  if ARGV[8] == '' and hides(version) then return nil end
  return OPEN[was] and 'superseded' or nil
end

local tells = ARGV[3] ~= '' or ARGV[8] ~= '' -- else what is told goes on
local later = {unpack(versions_of(chain, ARGV[1]), 2)}
for _, version in ipairs(tells and later or {}) do
  local new = becomes(version, redis.call('HGET', key(chain, 'version', version), 'state'))
  if new then enter(chain, version, new, now) end
end
if ARGV[3] ~= '' then
  local shelve = ARGV[3] == 'stood_down' and park or unpark
  for channel in pairs(channels()) do shelve(channel) end
end
local ended = redis.call('HGET', version_key, 'expires')
if fields > 0 then redis.call('HSET', version_key, unpack(ARGV, 14, 13 + fields)) end
for i = 14 + fields, 13 + fields + said, 2 do
  redis.call('HSET', key(chain, 'version', ARGV[i]), 'doc', ARGV[i + 1])
  if ARGV[i] ~= ARGV[1] then redis.call('HINCRBY', key(chain, 'version', ARGV[i]), 'rev', 1) end
end
local expires, restricted = unpack(redis.call('HMGET', version_key, 'expires', 'restricted'))
if teller ~= ARGV[1] then -- what is queued of it says as little
  redis.call('HSET', key(chain, 'version', teller), 'restricted', restricted or 0)
end
-- Whatever is told and ends with the alert goes on with it; what is known of it elsewhere is read again, for its messages say until when.
if expires ~= ended then
  for _, one in ipairs(later) do
    local version = key(chain, 'version', one)
    local its, ends = unpack(redis.call('HMGET', version, 'state', 'expires'))
    if KNOWN[its] and ends == ended then
      redis.call('HSET', version, 'expires', expires)
      redis.call('HINCRBY', version, 'rev', 1)
    end
  end
end
if ARGV[3] ~= '' then
  enter(chain, ARGV[1], ARGV[3], now)
else
  local rev = redis.call('HINCRBY', version_key, 'rev', 1)
  if ARGV[12] ~= '' then tell(chain, ARGV[1], now, ARGV[12], {rev = tostring(rev)}) end
end
if ARGV[7] ~= '' then
  redis.call('HSET', chain, 'keys', ARGV[7])
  redis.call('HDEL', chain, 'paused')
end
if ARGV[8] ~= '' then
  redis.call('HSET', chain, 'last', last + 1)
  redis.call('HSET', key(chain, 'version', ARGV[8]), 'created', now, unpack(ARGV, 14 + fields + said))
  open_gate(chain, ARGV[8], now)
end
return {1, state}

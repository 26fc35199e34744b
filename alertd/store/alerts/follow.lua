-- Stores a follow-up of an alert atomically: a step of its state or a change of its content, and the version that announces it. Earlier
-- follow-up versions that are still being sent become superseded. An update that is being sent in the alert's place (the "teller") gets the
-- alert's new state. An update that still waits for its second person is rejected if the alert ends.
-- KEYS: 1 chain (an alert with its versions)
-- ARGV: 1 alert id, 2 states it may come from (comma before and after each), 3 new state ('' to keep it), 4 skew, 5 revision that the
--       caller read ('' for any), 6 number of the chain's last version that the caller read, 7 API keys behind the chain from now on ('' to
--       keep them), 8 id of the version that announces the follow-up ('' for none), 9 "1" if the alert must not be expired, 10 number of
--       arguments that are fields of the alert, 11 number of arguments that are pairs of a version and its new sealed document, 12 type of
--       the event if the state stays ('' for none), 13 times of the alert's changes that the caller read, 14... the fields of the alert,
--       the pairs, and the fields of the version that announces it
-- Returns: {1 or 0, the earlier state; 'changed' or 'expired' if that is the reason for a refusal, 'again' if another follow-up came first}
local chain, version_key = KEYS[1], key(KEYS[1], 'version', ARGV[1])
local state, misfit = check_state(version_key, ARGV[2], ARGV[5])
if misfit then return misfit end
local last = redis.call('HGET', chain, 'last') or '1'
local changes = redis.call('HGET', version_key, 'changes') or ''
if last ~= ARGV[6] or changes ~= ARGV[13] then return {0, 'again'} end -- the new content was made from what the caller read
local teller = redis.call('HGET', chain, 'teller') or ARGV[1]
local now, fields, said = chain_now(chain, ARGV[4]), tonumber(ARGV[10]), tonumber(ARGV[11])
if ARGV[9] == '1' and has_ended(chain, redis.call('HGET', version_key, 'expires'), now) then return {0, 'expired'} end

-- Returns the channels on which the alert, or the update in its place, has rows. When the alert is stood down, its queued entries on these
-- channels are moved aside (parked), where no lease finds them. When it is reopened, they are put back.
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
  redis.call('DEL', key(chain, 'ready', channel)) -- the other entries belong to versions that are not sent any more
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

-- Returns whether a version removes content from recipients' screens. Such a version is not superseded by an end that is announced later,
-- because nothing else removes the content until then.
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

local tells = ARGV[3] ~= '' or ARGV[8] ~= '' -- else the versions that are being sent continue
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
if teller ~= ARGV[1] then -- its queued messages leave out the same facts
  redis.call('HSET', key(chain, 'version', teller), 'restricted', restricted or 0)
end
-- If the alert's end has changed, every active version that ended with the alert gets the new end. Its revision grows, so that workers read
-- it again: its messages contain the end.
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
  if ARGV[12] ~= '' then record_event(chain, ARGV[1], now, ARGV[12], {rev = tostring(rev)}) end
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

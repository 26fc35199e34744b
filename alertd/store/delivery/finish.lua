-- Returns whether a version has open rows. Marks a sending version without open rows as sent. Writes events for the progress, and for a
-- stall: no message sent for long although rows are due.
-- KEYS: 1 chain (an alert with its versions)
-- ARGV: 1 alert id, 2 skew
-- Returns: 'done', 'sweep' if its gate is closed and rows are unsettled, 'busy', 'due' and the channels with rows to lease now, 'early'
--          before its approval; 'done' for an update that waits for its second person, because it keeps no alert active
local chain, alert = KEYS[1], ARGV[1]
local version_key = key(chain, 'version', alert)
local state, planned, rows, lost_at, replaced =
  unpack(redis.call('HMGET', version_key, 'state', 'planned', 'rows', 'lost_at', 'replaced'))
if not state then return 'done' end
if not rows then return (QUEUED_BECOMES[state] or string.find(alert, '-', 1, true)) and 'done' or 'early' end
local now = chain_now(chain, ARGV[2])
local gate = gate_of(chain, alert, now)
local flat, sums, channels = redis.call('HGETALL', key(chain, 'counts', alert)), {}, {}
for i = 1, #flat, 2 do
  local channel, word = string.match(flat[i], '^(.*)%.([^.]*)$')
  channels[channel] = true
  sums[word] = (sums[word] or 0) + flat[i + 1]
end
local targeted, in_flight = sums.targeted or 0, sums.in_flight or 0
local left = (sums.queued or 0) + in_flight
local function is_sent()
  enter(chain, alert, 'sent', now)
  return 'done'
end
if gate == 'closed' then
  if left > 0 then return 'sweep' end
  return replaced and OPEN[state] and is_sent() or 'done' -- an update notifies the remaining recipients
end
if not OPEN[state] then return left > 0 and 'busy' or 'done' end

local function mark()
  local last = tonumber(redis.call('HGET', version_key, 'mark') or '0')
  for _, percent in ipairs(MARKS) do
    if percent > last and 100 * (targeted - left) >= percent * targeted then
      redis.call('HSET', version_key, 'mark', percent)
      record_event(chain, alert, now, 'progress', {percent = tostring(percent)})
    end
  end
end

-- Returns whether an entry of the delayed set still has to wait: for the delay of its ring, for its pace, for quiet hours or for another
-- deferral.
local function is_held(member)
  local version, batch, number = string.match(member, '^([^/]+)/([^/]+)/(%d+)$')
  if not number then return true end
  local name, free = pace_of(chain, version, batch)
  if name and free > now then return true end
  number = tonumber(number)
  return HELD_FOR[row_at(open_rows(chain, version, number, number).span, 0).reason]
end

-- Returns whether a worker holds a lease on rows of the version.
local function is_leased()
  for _, payload in ipairs(redis.call('HVALS', key(chain, 'leases'))) do
    if string.match(payload, '^[^/]+') == alert then return true end
  end
  return false
end

local function is_due()
  if planned ~= '1' or in_flight > 0 or is_leased() then return true end
  for channel in pairs(channels) do
    local first = redis.call('ZRANGE', key(chain, 'delayed', channel), 0, 0, 'WITHSCORES')
    local waits = first[1] and tonumber(first[2]) > now and is_held(first[1])
    if redis.call('LLEN', key(chain, 'ready', channel)) > 0 or (first[1] and not waits) then return true end
  end
  return false
end

local function comes_due(channel)
  if redis.call('LLEN', key(chain, 'ready', channel)) > 0 then return true end
  if redis.call('ZCOUNT', key(chain, 'until', channel), '-inf', lost_before(chain, now)) > 0 then return true end
  local first = redis.call('ZRANGEBYSCORE', key(chain, 'delayed', channel), '-inf', now, 'LIMIT', 0, 1)[1]
  if not first then return false end
  local version, batch, what = string.match(first, '^([^/]+)/([^/]+)/(.*)$')
  if what ~= WHOLE then return true end
  local name, free = pace_of(chain, version, batch)
  return not name or free <= now
end

local function watch()
  local seen, since, stalled = unpack(redis.call('HMGET', version_key, 'left', 'moved', 'stalled'))
  local moves = (redis.call('HGET', version_key, 'cursor') or '') .. ' ' .. left
  if gate == 'held' or moves ~= seen then
    if not since and gate == 'held' then return end
    redis.call('HDEL', version_key, 'stalled', 'left', 'moved')
    if gate ~= 'held' then redis.call('HSET', version_key, 'left', moves, 'moved', now) end
    if stalled and gate ~= 'held' then record_event(chain, alert, now, 'recovered', {}) end
  elseif not stalled and now - since >= STALLED_MS / 6 then
    if not is_due() then
      redis.call('HSET', version_key, 'moved', now) -- the minute of a stall begins when a row is due
    elseif now - since >= STALLED_MS then
      redis.call('HSET', version_key, 'stalled', now)
      record_event(chain, alert, now, 'stalled', {})
    end
  end
end

if planned == '1' and targeted > 0 then mark() end
if planned ~= '1' or left > 0 then
  watch()
  local word = 'busy'
  for channel in pairs(channels) do
    if gate == 'open' and comes_due(channel) then word = (word == 'busy' and 'due' or word) .. ' ' .. channel end
  end
  return word
end
if lost_at and now - lost_at < LOST_MS then return 'busy' end -- a silent worker may only be suspended, and may still report unsent rows
return is_sent()

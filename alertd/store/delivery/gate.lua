-- Gives a worker the permission to send. No message is sent without it. Stores the outcomes of the worker's last chunk, even if the lease
-- is lost or the version has ended. Marks the rows of the next chunk as in flight only if the lease is alive and the version's gate is
-- open.
-- KEYS: 1 chain (an alert with its versions)
-- ARGV: 1 alert id, 2 batch, 3 channel, 4 lease, 5 lease ms, 6 outcomes, 7 rows wanted (runs), 8 carrier (number), 9 skew, 10 "1" if this
--       call ends the lease, 11 unsent rows to return to the queue with it (runs). An outcome is <I4 first row, I2 rows, B flags, B state,
--       B reason, B carrier, I4 delay ms>. State queued: try again after the delay. Flag DOUBT: this or an earlier attempt may have been
--       sent. Flag UNSENT: nothing was written.
-- Returns: {status, granted ("1" or "0" for each wanted row)}; status is go, lost, closed or held
local chain, version, batch, channel, lease = KEYS[1], ARGV[1], ARGV[2], ARGV[3], ARGV[4]
local now = chain_now(chain, ARGV[9])
local version_key = key(chain, 'version', version)
local wanted, back, carrier = ARGV[7], ARGV[11], tonumber(ARGV[8])
local at = since(version_key, now)

local low, high
local function reach(number, count)
  low, high = math.min(low or number, number), math.max(high or 0, number + count - 1)
end
local outcomes, may_have_left = {}, false
for i = 1, #ARGV[6], 14 do
  local number, count, flags, state, reason, by, wait = struct.unpack('<I4I2BBBBI4', ARGV[6], i)
  outcomes[#outcomes + 1] = {number, count, flags, state, reason, by, wait}
  may_have_left = may_have_left or state == S.accepted or state == S.unknown or flags >= DOUBT
  reach(number, count)
end
each_pair(wanted, reach)
each_pair(back, reach)

local gate = gate_of(chain, version, now)
local owned = redis.call('HEXISTS', key(chain, 'leases'), lease) == 1
local mark = mark_of(lease)
local granted = {}

if low then
  local rows = open_rows(chain, version, low, high)

  -- Queues a row again that the carrier surely did not accept, unless another lease has queued it already or the alert is over.
  local function requeue(row, flags, reason, wait)
    if flags >= DOUBT then doubt(rows, row) else undoubt(rows, row) end
    if math.floor(flags / UNSENT) % 2 == 1 and tries_of(row) > 0 then row.tries = row.tries - 1 end
    if row.state == S.queued then return end -- leased or waiting already; behind a closed gate the sweeper finds it
    if gate == 'closed' then
      move(rows, row, closed_row(row, closed_state(version_key)), reason, at)
    else
      move(rows, row, S.queued, reason, at)
      delay(chain, version, batch, channel, row, now + wait)
    end
  end

  -- Only the lease that last got permission for the row may settle it, and only once, whatever changed the row since.
  local function settle(row, flags, state, reason, by, wait)
    if not ANSWERABLE[row.state] or row.receipt ~= mark then return end
    if state ~= S.queued then
      move(rows, row, state, reason, at)
    elseif row.state == S.unknown and redis.call('HGET', version_key, 'state') == 'sent' then
      return -- too late to try again: the row stays unknown
    else
      requeue(row, flags, reason, wait)
    end
    row.carrier, row.receipt = by, 0
  end
  for _, outcome in ipairs(outcomes) do
    each_run(rows, outcome[1], outcome[2], function(row) settle(row, unpack(outcome, 3)) end)
  end

  local function admit(row)
    local free = gate == 'open' and owned and row.state == S.queued and not is_delayed(row)
    granted[#granted + 1] = string.rep(free and '1' or '0', row.alike)
    if not free then return end
    move(rows, row, S.in_flight, 0, at)
    row.carrier, row.receipt = carrier, mark
    if tries_of(row) < ATTEMPTS then row.tries = row.tries + 1 end
    if row.first == 0 then row.first = math.max(1, at) end
  end
  each_pair(wanted, function(number, count) each_run(rows, number, count, admit) end)

  local function put_back(row)
    if owned and gate ~= 'closed' and row.state == S.queued and not is_delayed(row) then
      delay(chain, version, batch, channel, row, now)
    end
  end
  each_pair(back, function(number, count) each_run(rows, number, count, put_back) end)
  close_rows(chain, version, rows, channel)
  if #wanted > 0 and gate == 'open' and owned then redis.call('HSETNX', version_key, 'first_send', now) end
  if may_have_left then redis.call('HSET', version_key, 'last_send', now) end
end

if owned and (ARGV[10] == '1' or gate == 'closed') then
  redis.call('HDEL', key(chain, 'leases'), lease)
  redis.call('ZREM', key(chain, 'until', channel), lease)
elseif owned then
  redis.call('ZADD', key(chain, 'until', channel), now + tonumber(ARGV[5]), lease)
end
local status = owned and (gate == 'open' and 'go' or gate) or 'lost'
return {status, table.concat(granted)}

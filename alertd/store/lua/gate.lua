-- The only gate to a socket. Settles the outcomes of the last chunk, whatever became of the lease or the version, and
-- writes the intents of the next one only if the lease lives and the version's gate is open.
-- KEYS: 1 chain
-- ARGV: 1 alert id, 2 batch, 3 channel, 4 lease, 5 lease ms, 6 outcomes, 7 rows wanted (u32 each), 8 carrier (number), 9 skew,
--       10 "1" when the lease is to end with this call, 11 rows given back unsent with it (u32 each)
--       an outcome is <I4 row, B flags, B state, B reason, B carrier, I4 delay ms>; state queued means "again after the delay",
--       with DOUBT where this attempt or one before may have been sent, UNSENT where nothing was written at all
-- Returns: {status, granted ("1" or "0" a row wanted)}; status is go, lost, closed or held
local chain, version, batch, channel, lease = KEYS[1], ARGV[1], ARGV[2], ARGV[3], ARGV[4]
local now = chain_now(chain, ARGV[9])
local version_key = key(chain, 'version', version)
local wanted, carrier = u32s(ARGV[7]), tonumber(ARGV[8])
local at = since(version_key, now)

local low, high
local function reach(number)
  low, high = math.min(low or number, number), math.max(high or number, number)
end
local outcomes, may_have_left = {}, false
for i = 1, #ARGV[6], 12 do
  local number, flags, state, reason, by, delay = struct.unpack('<I4BBBBI4', ARGV[6], i)
  outcomes[#outcomes + 1] = {number, flags, state, reason, by, delay}
  may_have_left = may_have_left or state == S.accepted or state == S.unknown or flags >= DOUBT
  reach(number)
end
local back = u32s(ARGV[11])
for _, number in ipairs(wanted) do reach(number) end
for _, number in ipairs(back) do reach(number) end

local gate = gate_of(chain, version, now)
local owned = redis.call('HEXISTS', key(chain, 'leases'), lease) == 1
local mark = mark_of(lease)
local granted = {}

if low then
  local rows = open_rows(chain, version, low, high)

  -- What was surely not taken goes back to the queue, unless a successor has queued it already, or the alert is over.
  local function requeue(number, row, flags, reason, wait)
    if flags >= DOUBT then doubt(rows, number) else undoubt(rows, number) end
    if math.floor(flags / UNSENT) % 2 == 1 and tries_of(row) > 0 then row.tries = row.tries - 1 end
    if row.state == S.queued then return end -- in a lease, or waiting; of a closed gate the sweeper will find it
    if gate == 'closed' then
      move(rows, number, closed_row(row, closed_state(version_key)), reason, at)
    else
      move(rows, number, S.queued, reason, at)
      delay(chain, version, batch, channel, rows, number, now + wait)
    end
  end

  -- Whatever became of the row since: who asked for it last answers for it, once, and nobody else does.
  local function settle(number, flags, state, reason, by, wait)
    local row = row_of(rows, number)
    if not ANSWERABLE[row.state] or row.receipt ~= mark then return end
    if state ~= S.queued then
      move(rows, number, state, reason, at)
    elseif row.state == S.unknown and redis.call('HGET', version_key, 'state') == 'sent' then
      return -- too late: it stays listed as unknown
    else
      requeue(number, row, flags, reason, wait)
    end
    row.carrier, row.receipt = by, 0
    rows.changed[number] = true
  end
  for _, outcome in ipairs(outcomes) do settle(unpack(outcome)) end

  for index, number in ipairs(wanted) do
    local row = row_of(rows, number)
    local free = row.state == S.queued and not is_delayed(row)
    if gate == 'open' and owned and free then
      move(rows, number, S.in_flight, 0, at)
      row.carrier, row.receipt = carrier, mark
      if tries_of(row) < ATTEMPTS then row.tries = row.tries + 1 end
      if row.first == 0 then row.first = math.max(1, at) end
      granted[index] = '1'
    else
      granted[index] = '0'
    end
  end
  for _, number in ipairs(back) do
    local row = row_of(rows, number)
    if owned and gate ~= 'closed' and row.state == S.queued and not is_delayed(row) then
      delay(chain, version, batch, channel, rows, number, now)
    end
  end
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

-- Functions that all scripts share. Valkey and Redis 7.2+ replicate effects, so reading the server's clock is safe.

local function now_ms(skew)
  local t = redis.call('TIME')
  return t[1] * 1000 + math.floor(t[2] / 1000) + tonumber(skew)
end

-- Returns the time of an alert's clock and its last stored time (ms). It is the server's time, but never goes back. If the server's clock
-- was set back, the alert's clock runs `ahead` of it until the server has caught up. Else every waiting row would wait for the length of
-- the step.
local function chain_shows(chain, skew)
  local now, last, ahead = now_ms(skew), unpack(redis.call('HMGET', chain, 'clock', 'ahead'))
  last, ahead = tonumber(last or '0'), tonumber(ahead or '0')
  if last - now <= GAP_MS then
    if ahead > 0 then redis.call('HDEL', chain, 'ahead') end
  else
    if last - now - ahead > GAP_MS then
      ahead = last - now
      redis.call('HSET', chain, 'ahead', ahead)
    end
    now = now + ahead
  end
  return math.max(now, last), last
end

-- Returns the time of an alert's clock (ms) and stores it. A jump means that no worker could reach the alert meanwhile: a gap.
local function chain_now(chain, skew)
  local now, last = chain_shows(chain, skew)
  if now <= last then return last end
  redis.call('HSET', chain, 'clock', now)
  if now - last > GAP_MS then
    redis.call('HSET', chain, 'steady', now)
    redis.call('HINCRBY', chain, 'gaps', 1)
  end
  return now
end

-- Returns the time (ms) before which a lease must have expired to count as lost. Returns 0 until workers have reached the alert without a
-- gap for the length of a lease: after an outage of the store or of all workers, an expired lease does not prove that its worker is dead.
local function lost_before(chain, now)
  local steady = tonumber(redis.call('HGET', chain, 'steady') or '0')
  return now - steady >= LEASE_MS and now or 0
end

local function key(chain, part, name)
  return chain .. K[part] .. (name or '')
end

-- Returns channel, first row, number of rows and ring of a batch from its header "channel language format ring marks first count", or nil.
local function batch_of(chain, version, batch)
  local header = redis.call('HGET', key(chain, 'batches', version), batch)
  if not header then return nil end
  local channel, ring, first, count = string.match(header, '^(%S+) %S+ %S+ (%d+) .-(%d+) (%d+)$')
  return channel, tonumber(first), tonumber(count), ring
end

-- Returns the ids of an alert's versions; `first` is the id of the first. After a restore from a backup, later versions get new, higher
-- numbers (`ids.py`).
local function versions_of(chain, first)
  local last, lives = unpack(redis.call('HMGET', chain, 'last', 'lives'))
  local ids, begins, life = {first}, {}, 0
  for after, one in string.gmatch(lives or '', '(%d+):(%d+)') do begins[tonumber(after)] = tonumber(one) end
  for nth = 2, tonumber(last or '1') do
    life = begins[nth - 1] or life
    ids[nth] = first .. '-' .. life * 256 + nth
  end
  return ids
end

-- Returns the number in the id of a version. Later versions have higher numbers.
local function number_of(version)
  return tonumber(string.match(version, '-(%d+)$') or '1')
end

-- Returns the version that last showed the alert to all recipients. Acknowledgements of earlier versions do not count for it.
local function shown_anew(chain, version)
  local ids = versions_of(chain, string.match(version, '^[^-]+'))
  for nth = #ids, 2, -1 do
    local start, notify = unpack(redis.call('HMGET', key(chain, 'version', ids[nth]), 'start', 'notify'))
    if start and (notify == 'full' or notify == 'silent') then return ids[nth] end
  end
  return ids[1]
end

-- Number of subscribers that an alert's bitmap of acknowledgements has room for.
local BITS = 4294967296

-- Stores an event of a version with its alert, in the step that causes it. Another process later moves it to the organisation's stream.
-- Holds only ids and codes.
local function record_event(chain, alert, now, word, facts)
  local event, names = facts, {'status', 'kind', 'occasion', 'sent_alone'}
  local values = redis.call('HMGET', key(chain, 'version', alert), unpack(names))
  for i, name in ipairs(names) do event[name] = values[i] or '' end
  event.alert, event.word, event.at = alert, word, string.format('%.0f', now)
  event.n = tostring(redis.call('HINCRBY', chain, 'told', 1))
  redis.call('RPUSH', key(chain, 'told'), cjson.encode(event))
end

-- Adds one event to an organisation's stream. Events are numbered without a gap, except after a restore. The number of
-- the oldest stored event shows how many earlier ones were deleted.
local function add_event(events, marks, now, event)
  redis.call('XADD', events, redis.call('HINCRBY', marks, 'last', 1), 'at', string.format('%.0f', now), 'event', event)
end

-- Queues an event for a webhook, or an alert for a distributor, with its number of tries reset. `turn` increases, so
-- that a try in progress notices that the entry was queued again. `hook`: keys of state, queue, tries and given-up
-- entries. `due`: ms.
local function queue_for_hook(hook, due, name)
  redis.call('ZADD', hook[2], string.format('%.3f', due), name)
  redis.call('HSET', hook[3], name, '0 0 ' .. redis.call('HINCRBY', hook[1], 'turn', 1))
  redis.call('ZREM', hook[4], name)
end

-- Moves a version to a state, and writes the event about that.
local function enter(chain, alert, state, now)
  local version_key = key(chain, 'version', alert)
  local was = redis.call('HGET', version_key, 'state')
  redis.call('HSET', version_key, 'state', state, state .. '_at', now)
  record_event(chain, alert, now, state, {was = was or '', rev = tostring(redis.call('HINCRBY', version_key, 'rev', 1))})
end

-- Makes a version replace all earlier ones of the alert. Their gates close: their queued messages are no longer sent, and only this version
-- may notify those recipients. If a restriction or reopening is still being sent, a version that notifies no earlier recipient becomes
-- silent instead, so that they get it.
local function take_place(chain, alert, version, now)
  local tells_again, version_key = false, key(chain, 'version', version)
  for _, one in ipairs(versions_of(chain, alert)) do
    local earlier = key(chain, 'version', one)
    local was, start, notify = unpack(redis.call('HMGET', earlier, 'state', 'start', 'notify'))
    if start and one ~= version then redis.call('HSET', earlier, 'replaced', now) end
    if one ~= alert and one ~= version and OPEN[was] then
      tells_again = tells_again or (notify or '') == ''
      enter(chain, one, 'superseded', now)
    end
  end
  local notify = redis.call('HGET', version_key, 'notify')
  if notify == 'newly' then redis.call('HSET', version_key, 'goes_on', 1) end
  if tells_again and (notify == 'none' or notify == 'newly') then redis.call('HSET', version_key, 'notify', 'silent') end
  redis.call('HSET', chain, 'teller', version, 'gaps', 0)
end

-- Opens the gate of a version, so that its messages may be sent. Nothing is planned yet.
local function open_gate(chain, version, now)
  redis.call('HSET', key(chain, 'version', version), 'start', now, 'cursor', 0, 'rows', 0, 'batches', 0, 'planned', 0)
  enter(chain, version, 'approved', now)
end

-- Writes an event for each neighbour organisation that is asked for its permission. `neighbours` are separated by spaces.
local function ask(chain, alert, now, neighbours)
  for one in string.gmatch(neighbours, '%S+') do
    record_event(chain, alert, now, 'permission_asked', {rev = redis.call('HGET', key(chain, 'version', alert), 'rev'), organisation = one})
  end
end

-- Returns a version's state, and the script's answer if a person's decision does not fit: the state is not in `from` (a comma before and after
-- each), or the revision is not `seen` ('' for any).
local function check_state(version_key, from, seen)
  local state, rev = unpack(redis.call('HMGET', version_key, 'state', 'rev'))
  if not state then return '', {0, ''} end
  if not string.find(from, ',' .. state .. ',', 1, true) then return state, {0, state} end
  if seen ~= '' and seen ~= rev then return state, {0, 'changed'} end
  return state
end

-- Ledger rows: state, reason, carrier, attempts and flags (a byte each), first, last, receipt (u32 ms since start). Before a row has an
-- answer it has no receipt: the field then holds the mark of the lease that last asked for the row (`mark_of`).
local ROW = '<BBBBI4I4I4'
local ROW_BYTES = 16

local function row_at(span, index)
  local state, reason, carrier, tries, first, last, receipt = struct.unpack(ROW, span, index * ROW_BYTES + 1)
  return {state = state, reason = reason, carrier = carrier, tries = tries, first = first, last = last, receipt = receipt}
end

local function packed(row)
  return struct.pack(ROW, row.state, row.reason, row.carrier, row.tries, row.first, row.last, row.receipt)
end

local function is_delayed(row) return math.floor(row.tries / DELAYED) % 2 == 1 end

local function tries_of(row) return row.tries % (ATTEMPTS + 1) end

-- Returns 32 bits of a lease's random name, never 0. A lease asks for a row once, so this identifies one attempt at the row.
local function mark_of(lease) return math.max(1, tonumber(string.sub(lease, 1, 8), 16)) end

-- Returns an object with the rows low..high of a ledger. `close_rows` writes them back in one command. `moves` counts
-- the changes of state, for the counters.
local function open_rows(chain, version, low, high)
  local ledger = key(chain, 'ledger', version)
  local span = redis.call('GETRANGE', ledger, low * ROW_BYTES, (high + 1) * ROW_BYTES - 1)
  return {ledger = ledger, was = span, span = span, low = low, high = high, moves = {}, doubts = 0}
end

-- Returns how many rows, from `number` to at most `last`, equal the first one. Mostly all do.
local function alike_from(rows, number, last)
  local from, most, count = (number - rows.low) * ROW_BYTES, last - number + 1, 1
  local function at(index, more) return string.sub(rows.span, from + index * ROW_BYTES + 1, from + (index + more) * ROW_BYTES) end
  local one = at(0, 1)
  if at(most - 1, 1) == one and at(0, most) == string.rep(one, most) then return most end
  while count < most and at(count, 1) == one do count = count + 1 end
  return count
end

-- Visits `count` rows from `number` on. `visit` gets one row for each run of equal rows, with the first `number` and their count (`alike`), and
-- its changes apply to all of them. Rows of a chunk mostly change alike, and the script blocks the server.
local function each_run(rows, number, count, visit)
  local last, parts = number + count - 1, {string.sub(rows.span, 1, (number - rows.low) * ROW_BYTES)}
  local rest = string.sub(rows.span, (last + 1 - rows.low) * ROW_BYTES + 1)
  while number <= last do
    local row = row_at(rows.span, number - rows.low)
    row.number, row.alike = number, alike_from(rows, number, last)
    visit(row)
    parts[#parts + 1] = string.rep(packed(row), row.alike)
    number = number + row.alike
  end
  parts[#parts + 1] = rest
  rows.span = table.concat(parts)
end

local function move(rows, row, state, reason, now)
  if row.state ~= state then
    local step = row.state * 16 + state
    rows.moves[step] = (rows.moves[step] or 0) + row.alike
  end
  row.state, row.reason, row.last = state, reason, now
end

-- Sets the DOUBT flag of a row, because an earlier attempt may have been sent. Counts the row, unless it has the flag
-- already.
local function doubt(rows, row)
  if row.tries >= DOUBT then return end
  row.tries = row.tries + DOUBT
  rows.doubts = rows.doubts + row.alike
end

-- Removes the DOUBT flag of a row, because the attempt was surely not sent.
local function undoubt(rows, row)
  if row.tries < DOUBT then return end
  row.tries = row.tries - DOUBT
  rows.doubts = rows.doubts - row.alike
end

-- Returns the pace of a batch: name, time of the next free turn, ms per reference, and number of references. Returns nil without a pace.
local function pace_of(chain, version, batch)
  local version_key = key(chain, 'version', version)
  local _, _, count, ring = batch_of(chain, version, batch)
  local pace = redis.call('HGET', version_key, 'pace:' .. ring)
  if not pace then return nil end
  local name, each = string.match(pace, '^(%S+) (%S+)$')
  return name, tonumber(redis.call('HGET', version_key, 'turn:' .. name) or '0'), tonumber(each), count
end

-- In the delayed set, stands for all rows of a batch, in place of a row number.
local WHOLE = '*'

-- Puts queued rows into the set of delayed rows of their channel, from which no lease takes them before `due` (ms).
local function delay(chain, version, batch, channel, row, due)
  if not is_delayed(row) then row.tries = row.tries + DELAYED end
  local stood_down, members = redis.call('HGET', key(chain, 'version', version), 'state') == 'stood_down', {}
  for number = row.number, row.number + row.alike - 1 do
    members[#members + 1] = due
    members[#members + 1] = version .. '/' .. batch .. '/' .. number
  end
  redis.call('ZADD', key(chain, stood_down and 'parked' or 'delayed', channel), unpack(members))
end

local function close_rows(chain, version, rows, channel)
  if rows.span == rows.was then return end
  redis.call('SETRANGE', rows.ledger, rows.low * ROW_BYTES, rows.span)
  local counts = key(chain, 'counts', version)
  for step, times in pairs(rows.moves) do
    redis.call('HINCRBY', counts, channel .. '.' .. WORD[math.floor(step / 16)], -times)
    redis.call('HINCRBY', counts, channel .. '.' .. WORD[step % 16], times)
  end
  if rows.doubts ~= 0 then redis.call('HINCRBY', counts, channel .. '.doubled', rows.doubts) end
end

-- Returns the milliseconds from the version's start to `now`, as a ledger row stores them (u32).
local function since(version_key, now)
  local start = tonumber(redis.call('HGET', version_key, 'start') or '0')
  return math.max(0, math.min(4294967295, now - start))
end

-- Returns whether an alert is stopped or paused.
local function halted(chain)
  local halt, paused = unpack(redis.call('HMGET', chain, 'halt', 'paused'))
  return halt or paused == '1'
end

-- Returns whether a version has expired at `now`, a time of the alert's clock. Expiry times are by the server's clock.
local function has_ended(chain, expires, now)
  return now - tonumber(redis.call('HGET', chain, 'ahead') or '0') >= tonumber(expires)
end

-- Returns whether messages of a version may be sent: 'open', 'closed' (never again), or 'held' (the alert is stopped or paused, or the
-- version is in a state in which it is not sent).
local function gate_of(chain, version, now)
  local state, expires, replaced = unpack(redis.call('HMGET', key(chain, 'version', version), 'state', 'expires', 'replaced'))
  if not state or QUEUED_BECOMES[state] or replaced or has_ended(chain, expires, now) then return 'closed' end
  if not OPEN[state] or halted(chain) then return 'held' end
  return 'open'
end

-- Returns the state that queued rows of a version get after its gate closed: that of the version's state, cancelled if a later version
-- replaced it, else expired.
local function closed_state(version_key)
  local state, replaced = unpack(redis.call('HMGET', version_key, 'state', 'replaced'))
  return QUEUED_BECOMES[state] or (replaced and S.cancelled) or S.expired
end

-- Returns the ledger's reason for a row that a closed gate ended: a later version replaced this one, or the gate
-- closed.
local function closed_reason(version_key)
  local state, replaced = unpack(redis.call('HMGET', version_key, 'state', 'replaced'))
  return (replaced or state == 'superseded') and R.superseded or R.gate_closed
end

-- Returns the state of one row after its gate closed: `becomes`, or unknown if an attempt may have arrived, because a
-- correction must reach that recipient.
local function closed_row(row, becomes)
  return row.tries >= DOUBT and S.unknown or becomes
end

local function u32s(blob)
  local list = {}
  for i = 1, #blob, 4 do list[#list + 1] = struct.unpack('<I4', blob, i) end
  return list
end

-- Calls `visit` for each run of rows in `blob`: first number (u32) and count (u16).
local function each_pair(blob, visit)
  for i = 1, #blob, 6 do visit(struct.unpack('<I4I2', blob, i)) end
end

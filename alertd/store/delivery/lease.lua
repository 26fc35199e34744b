-- Leases rows of one channel of one alert to a worker: those of an expired lease, else rows that are due for another try, else a new batch.
-- KEYS: 1 chain (an alert with its versions)
-- ARGV: 1 channel, 2 new lease's name, 3 lease ms, 4 carriers (bytes) that get no second attempt if they did not answer, 5 skew,
--       6... leases of the caller, which this call renews
-- Returns: nil, or {alert id, batch, header, rows (u32 each), refs (6 bytes each), tries and carriers (1 byte each, as the ledger has
--          them)}
local chain, channel, lease, lease_ms, hold = KEYS[1], ARGV[1], ARGV[2], tonumber(ARGV[3]), ARGV[4]
local now = chain_now(chain, ARGV[5])
local until_key, leases = key(chain, 'until', channel), key(chain, 'leases')
local LATE_MS = 1000 -- a pace allows this much to be made up, if a worker asks late for its turn

-- Settles a row that was in flight under a lost lease: queues it again and marks it as perhaps sent. Marks it unknown if the carrier's
-- policy is to hold, or after the last attempt, because the message itself may kill the workers.
local function settle_lost(rows, row, at, version, mark)
  if row.state ~= S.in_flight or row.receipt ~= mark then return end -- another lease has had the row since
  local killer = tries_of(row) == ATTEMPTS and row.tries >= DOUBT
  if killer or string.find(hold, string.char(row.carrier), 1, true) then
    move(rows, row, S.unknown, R.worker_lost, at)
    redis.call('HSET', key(chain, 'version', version), 'lost_at', now)
  else
    move(rows, row, S.queued, R.worker_lost, at)
    doubt(rows, row)
  end
end

-- Calls `visit` with the first number and the length of each run of consecutive numbers. `numbers` are in order.
local function each_stretch(numbers, visit)
  local from = 1
  for i = 1, #numbers do
    if numbers[i + 1] ~= numbers[i] + 1 then
      visit(numbers[from], i - from + 1)
      from = i + 1
    end
  end
end

local function give(version, batch, numbers, kind, mark)
  local header = redis.call('HGET', key(chain, 'batches', version), batch)
  local low, high = numbers[1], numbers[#numbers]
  local rows = open_rows(chain, version, low, high)
  local at = since(key(chain, 'version', version), now)
  local wanted, refs, tries, carriers = {}, {}, {}, {}
  local all_refs = redis.call('GETRANGE', key(chain, 'refs', version), low * 6, (high + 1) * 6 - 1)
  local function take(row)
    if kind == 'lost' then settle_lost(rows, row, at, version, mark) end
    if kind == 'due' and is_delayed(row) then row.tries = row.tries - DELAYED end
    if row.state ~= S.queued or is_delayed(row) then return end
    for number = row.number, row.number + row.alike - 1 do wanted[#wanted + 1] = number end
    refs[#refs + 1] = string.sub(all_refs, (row.number - low) * 6 + 1, (row.number - low + row.alike) * 6)
    tries[#tries + 1] = string.rep(string.char(row.tries), row.alike)
    carriers[#carriers + 1] = string.rep(string.char(row.carrier), row.alike)
  end
  each_stretch(numbers, function(number, count) each_run(rows, number, count, take) end)
  close_rows(chain, version, rows, channel)
  if #wanted == 0 then return nil end
  local numbers_left = struct.pack('<' .. string.rep('I4', #wanted), unpack(wanted))
  redis.call('HSET', leases, lease, version .. '/' .. batch .. '/' .. numbers_left)
  redis.call('ZADD', until_key, now + lease_ms, lease)
  return {version, batch, header, numbers_left, table.concat(refs), table.concat(tries), table.concat(carriers)}
end

local function lost_lease()
  local old = redis.call('ZRANGEBYSCORE', until_key, '-inf', lost_before(chain, now), 'LIMIT', 0, 1)[1]
  if not old then return nil end
  local payload = redis.call('HGET', leases, old)
  redis.call('ZREM', until_key, old)
  redis.call('HDEL', leases, old)
  if not payload then return lost_lease() end
  local version, batch, blob = string.match(payload, '^([^/]+)/([^/]+)/(.*)$')
  return version, batch, u32s(blob), 'lost', mark_of(old)
end

local function rows_of(version, batch)
  local _, first, count = batch_of(chain, version, batch)
  local numbers = {}
  for number = first, first + count - 1 do numbers[#numbers + 1] = number end
  return numbers
end

-- The time (ms) at which each pace (limit of the send rate) lets its next batch go, during this call. With it, rows that waited through a
-- pause or a night are not all sent at once.
local Turns = {batches = {}, free = {}}

-- Returns nil if the pace of a batch, or of one of its rows, lets it go now. Else reserves its place in line and returns the time (ms) at
-- which it may go.
function Turns.wait(version, batch, is_whole)
  local its = version .. '/' .. batch
  Turns.batches[its] = Turns.batches[its] or {pace_of(chain, version, batch)}
  local name, free, each, count = unpack(Turns.batches[its])
  if not name then return nil end
  local line, lasts = version .. '/' .. name, is_whole and count * each or each
  free = Turns.free[line] or free
  if free > now then
    Turns.free[line] = free + lasts
    return free
  end
  Turns.free[line] = math.max(free, now - LATE_MS) + lasts
  redis.call('HSET', key(chain, 'version', version), 'turn:' .. name, string.format('%.3f', Turns.free[line]))
  return nil
end

-- Returns a batch that is due, or due rows of one batch. Delays entries whose pace allows no message yet: many of them would otherwise
-- hide the entries without a pace.
local function due_tries()
  local delayed, prefix, numbers, version, batch = key(chain, 'delayed', channel), nil, {}, nil, nil
  repeat
    local due = redis.call('ZRANGEBYSCORE', delayed, '-inf', now, 'LIMIT', 0, 500)
    for _, member in ipairs(due) do
      local of, name, what = string.match(member, '^([^/]+)/([^/]+)/(.*)$')
      if not prefix or prefix == of .. '/' .. name then
        local turn = Turns.wait(of, name, what == WHOLE)
        if turn then
          redis.call('ZADD', delayed, string.format('%.3f', turn), member)
        else
          redis.call('ZREM', delayed, member)
          if what == WHOLE then return of, name, rows_of(of, name), 'new' end
          prefix, version, batch = of .. '/' .. name, of, name
          numbers[#numbers + 1] = tonumber(what)
        end
      end
    end
  until prefix or #due == 0
  if not prefix then return nil end
  table.sort(numbers)
  return version, batch, numbers, 'due'
end

local function new_batch()
  local entry = redis.call('LPOP', key(chain, 'ready', channel))
  if not entry then return nil end
  local version, batch = string.match(entry, '^([^/]+)/([^/]+)$')
  return version, batch, rows_of(version, batch), 'new'
end

for i = 6, #ARGV do
  if redis.call('HEXISTS', leases, ARGV[i]) == 1 then redis.call('ZADD', until_key, now + lease_ms, ARGV[i]) end
end
-- Removes from the queues the work of versions with a closed gate: the sweeper settles its rows. Work on hold stays in its queue.
if halted(chain) then return nil end
if redis.call('HEXISTS', leases, lease) == 1 then return nil end -- the client repeated the call: its first work would be in no lease
for _, source in ipairs({lost_lease, due_tries, new_batch}) do
  for _ = 1, 16 do
    local version, batch, numbers, kind, mark = source()
    if not version then break end
    local given = give(version, batch, numbers, kind, mark)
    if given then return given end
  end
end
return nil

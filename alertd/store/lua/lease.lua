-- Takes work for one channel of one chain: a lease that ended without a sign of life, tries that are due, or a new batch.
-- KEYS: 1 chain
-- ARGV: 1 channel, 2 new lease's name, 3 lease ms, 4 carriers (bytes) whose unsettled attempts are held, 5 skew,
--       6... leases the asker holds: asking is a sign of life
-- Returns: nil, or {alert id, batch, header, rows (u32 each), refs (6 bytes each), tries and carriers (1 byte each, as the ledger has them), in flight found}
local chain, channel, lease, lease_ms, hold = KEYS[1], ARGV[1], ARGV[2], tonumber(ARGV[3]), ARGV[4]
local now = chain_now(chain, ARGV[5])
local until_key, leases = key(chain, 'until', channel), key(chain, 'leases')
local LATE_MS = 1000 -- who asks so late for a turn of a pace loses nothing of it

-- Rows a lost lease had in flight: queued again with doubt, or unknown where the carrier's policy is to hold, or after so
-- many attempts that it may be the message that kills its workers.
local function settle_lost(rows, row, at, version, mark)
  if row.state ~= S.in_flight or row.receipt ~= mark then return 0 end -- a row that waited in between is another lease's
  local killer = tries_of(row) == ATTEMPTS and row.tries >= DOUBT
  if killer or string.find(hold, string.char(row.carrier), 1, true) then
    move(rows, row, S.unknown, R.worker_lost, at)
    redis.call('HSET', key(chain, 'version', version), 'lost_at', now)
  else
    move(rows, row, S.queued, R.worker_lost, at)
    doubt(rows, row)
  end
  return row.alike
end

-- Of numbers in order those that follow one another: `visit` gets the first of them, and how many they are.
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
  local rows, lost = open_rows(chain, version, low, high), 0
  local at = since(key(chain, 'version', version), now)
  local wanted, refs, tries, carriers = {}, {}, {}, {}
  local all_refs = redis.call('GETRANGE', key(chain, 'refs', version), low * 6, (high + 1) * 6 - 1)
  local function take(row)
    if kind == 'lost' then lost = lost + settle_lost(rows, row, at, version, mark) end
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
  return {version, batch, header, numbers_left, table.concat(refs), table.concat(tries), table.concat(carriers), lost}
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
  local first, count = string.match(redis.call('HGET', key(chain, 'batches', version), batch), '(%d+) (%d+)$')
  local numbers = {}
  for number = tonumber(first), first + count - 1 do numbers[#numbers + 1] = number end
  return numbers
end

-- Nil where the pace of a new batch lets it go now, and then it has had its turn; else when its turn comes, after those put off before it.
-- What waited through a pause does not come all at once.
local function turn_of(version, batch, lines)
  local name, free, lasts = pace_of(chain, version, batch)
  if not name then return nil end
  if free <= now then
    redis.call('HSET', key(chain, 'version', version), 'turn:' .. name, string.format('%.3f', math.max(free, now - LATE_MS) + lasts))
    return nil
  end
  local line = version .. ' ' .. name
  local turn = lines[line] or free
  lines[line] = turn + lasts
  return turn
end

-- Of what is due, the first that may go, and a page of what is due with it. A batch whose turn has not come is put off until it does, so
-- that no number of them hides a try.
local function first_due(delayed)
  local lines = {}
  repeat
    local due = redis.call('ZRANGEBYSCORE', delayed, '-inf', now, 'LIMIT', 0, 500)
    for _, member in ipairs(due) do
      local version, batch, what = string.match(member, '^([^/]+)/([^/]+)/(.*)$')
      local turn = what == WHOLE and turn_of(version, batch, lines)
      if not turn then return due, member, version, batch end
      redis.call('ZADD', delayed, string.format('%.3f', turn), member)
    end
  until #due == 0
end

local function due_tries()
  local delayed = key(chain, 'delayed', channel)
  local due, member, version, batch = first_due(delayed)
  if not member then return nil end
  local prefix, numbers = version .. '/' .. batch .. '/', {}
  if member == prefix .. WHOLE then
    redis.call('ZREM', delayed, member)
    return version, batch, rows_of(version, batch), 'new'
  end
  for _, member in ipairs(due) do
    if string.sub(member, 1, #prefix) == prefix then
      numbers[#numbers + 1] = tonumber(string.sub(member, #prefix + 1))
      redis.call('ZREM', delayed, member)
    end
  end
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
-- Work of a closed gate is dropped here: the sweeper settles its rows. Held work waits where it is.
if halted(chain) then return nil end
if redis.call('HEXISTS', leases, lease) == 1 then return nil end -- a client's repeat: what was given would be in no lease
for _, source in ipairs({lost_lease, due_tries, new_batch}) do
  for _ = 1, 16 do
    local version, batch, numbers, kind, mark = source()
    if not version then break end
    local given = give(version, batch, numbers, kind, mark)
    if given then return given end
  end
end
return nil

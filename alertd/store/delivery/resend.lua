-- Queues rows of a few batches again, because an operator asked for it. A sent version becomes sending again. Refuses a version that is no
-- longer true for the alert, or that a later version replaces.
-- KEYS: 1 chain (an alert with its versions)
-- ARGV: 1 alert id, 2 states the alert may be in (comma before and after each), 3 first batch, 4 batches, 5 states of rows (bytes),
--       6 channel ('' for all), 7 skew, 8 states of the alert in which the version is true (comma before and after each)
-- Returns: {1, or 0 if refused; the state of the version, or the state that caused the refusal; rows queued; "1" if there are
--          no more batches}
local chain, alert = KEYS[1], ARGV[1]
local version_key = key(chain, 'version', alert)
local now = chain_now(chain, ARGV[7])
local state, misfit = check_state(version_key, ARGV[2], '')
if misfit then return {0, misfit[2], 0, '1'} end
if gate_of(chain, alert, now) == 'closed' then
  return {0, redis.call('HEXISTS', version_key, 'replaced') == 1 and 'superseded' or 'expired', 0, '1'}
end
local head = string.match(alert, '^[^-]+')
local _, untrue = check_state(key(chain, 'version', head), ARGV[8], '')
if untrue then return {0, untrue[2], 0, '1'} end

local function telling(version)
  local occasion, follows, notify, start =
    unpack(redis.call('HMGET', key(chain, 'version', version), 'occasion', 'follows', 'notify', 'start'))
  return start and table.concat({occasion or '', follows or '', notify or ''}, '/')
end
for _, one in ipairs(versions_of(chain, head)) do
  if number_of(one) > number_of(alert) and telling(one) == telling(alert) then return {0, 'superseded', 0, '1'} end
end
local at, queued, last = since(version_key, now), 0, false

for batch = tonumber(ARGV[3]), ARGV[3] + ARGV[4] - 1 do
  local channel, first, count = batch_of(chain, alert, batch)
  last = not channel
  if last then break end
  if ARGV[6] == '' or ARGV[6] == channel then
    local rows = open_rows(chain, alert, first, first + count - 1)
    each_run(rows, rows.low, count, function(row)
      if not string.find(ARGV[5], string.char(row.state), 1, true) then return end
      if row.state == S.unknown or row.receipt > 0 then doubt(rows, row) end -- the carrier may have delivered it without a report
      if row.state ~= S.unknown then row.receipt = 0 end -- the lease that sent an unknown row may still report its outcome
      row.tries = row.tries - tries_of(row) -- counts its tries from 0
      move(rows, row, S.queued, R.resent, at)
      delay(chain, alert, batch, channel, row, now)
      queued = queued + row.alike
    end)
    close_rows(chain, alert, rows, channel)
  end
end
if queued > 0 and state == 'sent' then
  state = 'sending'
  enter(chain, alert, state, now)
end
return {1, state, queued, last and '1' or '0'}

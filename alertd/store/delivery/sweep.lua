-- Settles a few batches behind a closed gate. Queued rows become cancelled or expired, or unknown if an earlier attempt may have arrived.
-- Rows in flight without a live lease become unknown. Also deletes expired leases of the closed version.
-- KEYS: 1 chain (an alert with its versions)
-- ARGV: 1 alert id, 2 first batch, 3 batches, 4 skew
-- Returns: {rows settled, rows in flight under a live lease}
local chain, alert = KEYS[1], ARGV[1]
local version_key = key(chain, 'version', alert)
local now = chain_now(chain, ARGV[4])
if gate_of(chain, alert, now) ~= 'closed' then return {0, 0} end
local at, becomes, reason = since(version_key, now), closed_state(version_key), closed_reason(version_key)

local living = {}
local all = redis.call('HGETALL', key(chain, 'leases'))
for i = 1, #all, 2 do
  local version, batch = string.match(all[i + 1], '^([^/]+)/([^/]+)/')
  if version == alert then
    local channel = batch_of(chain, alert, batch)
    local ends = redis.call('ZSCORE', key(chain, 'until', channel), all[i])
    if ends and tonumber(ends) > lost_before(chain, now) then
      living[batch] = true
    else
      redis.call('HDEL', key(chain, 'leases'), all[i])
      redis.call('ZREM', key(chain, 'until', channel), all[i])
    end
  end
end

-- Returns the reason of a settled row. A row that expires while it is deferred, over budget or waiting for its carrier keeps that reason.
local function why(row)
  local is_why = HELD_FOR[row.reason] or row.reason == R.over_budget or (row.reason > 0 and row.reason < OWN_REASONS)
  return becomes == S.expired and is_why and row.reason or reason
end

local settled, waiting = 0, 0
for batch = tonumber(ARGV[2]), ARGV[2] + ARGV[3] - 1 do
  local channel, first, count = batch_of(chain, alert, batch)
  if not channel then break end
  local rows = open_rows(chain, alert, first, first + count - 1)
  each_run(rows, rows.low, count, function(row)
    if row.state == S.queued then
      if is_delayed(row) then
        for number = row.number, row.number + row.alike - 1 do
          for _, part in ipairs({'delayed', 'parked'}) do
            redis.call('ZREM', key(chain, part, channel), alert .. '/' .. batch .. '/' .. number)
          end
        end
        row.tries = row.tries - DELAYED
      end
      move(rows, row, closed_row(row, becomes), why(row), at)
      settled = settled + row.alike
    elseif row.state == S.in_flight and living[tostring(batch)] then
      waiting = waiting + row.alike
    elseif row.state == S.in_flight then
      move(rows, row, S.unknown, R.worker_lost, at)
      settled = settled + row.alike
    end
  end)
  close_rows(chain, alert, rows, channel)
  redis.call('LREM', key(chain, 'ready', channel), 0, alert .. '/' .. batch)
  for _, part in ipairs({'delayed', 'parked'}) do
    redis.call('ZREM', key(chain, part, channel), alert .. '/' .. batch .. '/' .. WHOLE)
  end
end
return {settled, waiting}

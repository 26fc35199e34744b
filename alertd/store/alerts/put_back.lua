-- After a restore from a backup, marks the queued and in-flight rows of a version as unknown, also behind a closed gate, because nothing
-- shows which of them were sent since the backup. Empties the alert's queues and deletes its leases, so that no worker leases these rows.
-- Handles a few batches a call.
-- KEYS: 1 chain (an alert with its versions)
-- ARGV: 1 alert id, 2 first batch, 3 batches, 4 skew
-- Returns: number of rows that became unknown
local chain, alert = KEYS[1], ARGV[1]
local at, unsure = since(key(chain, 'version', alert), chain_now(chain, ARGV[4])), 0
redis.call('DEL', key(chain, 'leases'))
for batch = tonumber(ARGV[2]), ARGV[2] + ARGV[3] - 1 do
  local channel, first, count = batch_of(chain, alert, batch)
  if not channel then break end
  for _, part in ipairs({'ready', 'delayed', 'parked', 'until'}) do redis.call('DEL', key(chain, part, channel)) end
  local rows = open_rows(chain, alert, first, first + count - 1)
  each_run(rows, rows.low, count, function(row)
    if row.state ~= S.queued and row.state ~= S.in_flight then return end
    if is_delayed(row) then row.tries = row.tries - DELAYED end
    move(rows, row, S.unknown, R.put_back, at)
    unsure = unsure + row.alike
  end)
  close_rows(chain, alert, rows, channel)
end
return unsure

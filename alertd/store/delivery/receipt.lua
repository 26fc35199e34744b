-- Stores a late report for one row: delivered, failed, or, for an unknown row, accepted. If the alert escalates, a delivery to a screen
-- also records that the subscriber acknowledged the alert. A report on any version counts that was sent since the alert was last shown to
-- all recipients, also a restriction or a reopening.
-- KEYS: 1 chain (an alert with its versions)
-- ARGV: 1 alert id, 2 row, 3 channel, 4 new state, 5 reason, 6 states it may come from (bytes), 7 skew
-- Returns: {state before the report, or 0 if the row does not exist or is archived; ms from sending to delivery if this report marks the
--          row delivered, else -1}
local chain, alert, number = KEYS[1], ARGV[1], tonumber(ARGV[2])
local version_key = key(chain, 'version', alert)
local planned, archived, occasion = unpack(redis.call('HMGET', version_key, 'rows', 'archived', 'occasion'))
if archived or number >= tonumber(planned or '0') then return {0, -1} end
local now = chain_shows(chain, ARGV[7]) -- does not move the chain's clock: only workers do, so that a report cannot hide a gap
local rows = open_rows(chain, alert, number, number)

local function acknowledged()
  local shown = shown_anew(chain, alert)
  if redis.call('HEXISTS', key(chain, 'version', shown), 'escalates') == 0 then return end
  if number_of(alert) < number_of(shown) then return end
  local low, high = struct.unpack('<I4B', redis.call('GETRANGE', key(chain, 'refs', alert), number * 6, number * 6 + 4))
  if high == 0 then redis.call('SETBIT', key(chain, 'acked', shown), low, 1) end -- larger numbers do not fit the bitmap: these subscribers get the SMS, too
end

local state, reason, old, took, changes = tonumber(ARGV[4]), tonumber(ARGV[5]), 0, -1, false
each_run(rows, number, 1, function(row)
  old = row.state
  changes = not (old == state and row.reason == reason) and string.find(ARGV[6], string.char(old), 1, true)
  if not changes then return end
  local at, last = since(version_key, now), row.last
  move(rows, row, state, reason, at)
  row.last, row.receipt = last, state == S.accepted and 0 or at -- a late "accepted" is no delivery receipt
  if state == S.delivered and (old == S.accepted or old == S.in_flight or old == S.unknown) then took = at - last end
end)
if changes then
  close_rows(chain, alert, rows, ARGV[3])
  local shows = (occasion or '') == '' or occasion == 'update' -- other occasions end the alert
  if shows and state == S.delivered and ON_SCREEN[ARGV[3]] then acknowledged() end
  redis.call('ZADD', key(chain, 'receipts'), 'NX', now_ms(ARGV[7]) + RECEIPTS_MS, alert) -- one event announces them together, at a time of the server's clock
end
return {old, took}

-- Appends one stretch of the audience to the plan of a version, atomically: batches of references, their queued ledger rows, and the
-- planner's cursor.
-- KEYS: 1 chain (an alert with its versions)
-- ARGV: 1 alert id, 2 expected cursor, 3 cursor after this stretch, 4 "1" if the audience ends here, 5 skew, 6 references per batch (a
--       batch is the unit of leasing), 7... groups of five: channel, "language format ring", earliest send time (ms after the approval),
--       its pace ("name ms per reference"; '' for none), refs (6 bytes each)
-- Returns: 'ok', 'behind' if another planner has written this stretch, 'closed'
local chain, alert = KEYS[1], ARGV[1]
local version_key = key(chain, 'version', alert)
local now = chain_now(chain, ARGV[5])
if gate_of(chain, alert, now) == 'closed' then return 'closed' end
if not OPEN[redis.call('HGET', version_key, 'state')] then return 'closed' end -- stood down: planning continues if the alert is reopened
local cursor, rows, batches, start = unpack(redis.call('HMGET', version_key, 'cursor', 'rows', 'batches', 'start'))
if cursor ~= ARGV[2] then return 'behind' end
rows, batches = tonumber(rows), tonumber(batches)

local BATCH, TURN_MS = tonumber(ARGV[6]), 10000 -- a batch with a pace holds at most 10 s of its messages

-- Returns the time (ms) at which the next batch of a pace and delay may go, and moves that time on by `count` messages. `lease.lua` lets
-- the batches go in that order.
local function slot(pace, delay, due, count)
  local name, each = string.match(pace, '^(%S+) (%S+)$')
  local line = 'slot:' .. name .. ':' .. delay
  local free = math.max(due, tonumber(redis.call('HGET', version_key, line) or '0'))
  redis.call('HSET', version_key, line, string.format('%.3f', free + count * each))
  return free
end

local fresh = packed({state = S.queued, reason = 0, carrier = 0, tries = 0, first = 0, last = 0, receipt = 0})
for i = 7, #ARGV, 5 do
  local channel, alike, pace, refs = ARGV[i], ARGV[i + 1], ARGV[i + 3], ARGV[i + 4]
  local due = start + ARGV[i + 2]
  local total, most = #refs / 6, BATCH
  if pace ~= '' then
    redis.call('HSET', version_key, 'pace:' .. string.match(alike, '^%S+ %S+ (%d+)'), pace)
    most = math.max(1, math.min(BATCH, math.floor(TURN_MS / string.match(pace, ' (%S+)$'))))
  end
  if string.find(alike, ' unheard', 1, true) then redis.call('HSET', key(chain, 'version', shown_anew(chain, alert)), 'escalates', 1) end
  redis.call('APPEND', key(chain, 'refs', alert), refs)
  redis.call('APPEND', key(chain, 'ledger', alert), string.rep(fresh, total))
  redis.call('HINCRBY', key(chain, 'counts', alert), channel .. '.targeted', total)
  redis.call('HINCRBY', key(chain, 'counts', alert), channel .. '.queued', total)
  for done = 0, total - 1, most do
    local count = math.min(most, total - done)
    local at = pace == '' and due or slot(pace, ARGV[i + 2], due, count)
    redis.call('HSET', key(chain, 'batches', alert), batches, table.concat({channel, alike, rows + done, count}, ' '))
    if at > now or pace ~= '' then
      redis.call('ZADD', key(chain, 'delayed', channel), at, alert .. '/' .. batches .. '/' .. WHOLE)
    else
      redis.call('RPUSH', key(chain, 'ready', channel), alert .. '/' .. batches)
    end
    batches = batches + 1
  end
  rows = rows + total
end
redis.call('HSET', version_key, 'cursor', ARGV[3], 'rows', rows, 'batches', batches, 'planned', ARGV[4])
if redis.call('HGET', version_key, 'state') == 'approved' then
  enter(chain, alert, 'sending', now)
end
return 'ok'

-- Whether a version has nothing left to do; a version that was sending is then sent.
-- KEYS: 1 chain
-- ARGV: 1 alert id, 2 skew
-- Returns: 'done', 'sweep' when its gate is closed with rows to settle, 'busy', 'early' before its approval; of an update that
--          waits for its second person 'done', since it keeps nothing alive
local chain, alert = KEYS[1], ARGV[1]
local version_key = key(chain, 'version', alert)
local state, planned, rows, lost_at, replaced =
  unpack(redis.call('HMGET', version_key, 'state', 'planned', 'rows', 'lost_at', 'replaced'))
if not state then return 'done' end
if not rows then return (QUEUED_BECOMES[state] or string.find(alert, '-', 1, true)) and 'done' or 'early' end
local now = chain_now(chain, ARGV[2])
local gate = gate_of(chain, alert, now)
local left = 0
for _, field in ipairs(redis.call('HKEYS', key(chain, 'counts', alert))) do
  if string.match(field, '%.queued$') or string.match(field, '%.in_flight$') then
    left = left + tonumber(redis.call('HGET', key(chain, 'counts', alert), field))
  end
end
local function is_sent()
  enter(chain, alert, 'sent', now)
  return 'done'
end
if gate == 'closed' then
  if left > 0 then return 'sweep' end
  return replaced and OPEN[state] and is_sent() or 'done' -- the rest of it is told by an update
end
if not OPEN[state] then return left > 0 and 'busy' or 'done' end
if planned ~= '1' or left > 0 then return 'busy' end
if lost_at and now - lost_at < LOST_MS then return 'busy' end -- who went silent may only sleep, and know what was not sent
return is_sent()

-- Returns unused permits to a limiter, but only as many as the bucket has not refilled by itself since they were taken, because it would
-- overflow. After a probe, withdraws the probe, so that the next message may probe the carrier.
-- KEYS: 1 limiter
-- ARGV: 1 permits a second, 2 permits, 3 skew (ms), 4 mark of the block from `take.lua` ('' if it was taken this moment), 5 "1" for a loud
--       alert, 6 '' if it was no probe; `unsent`: nothing was written; `undecided`: the answer does not show whether the carrier works, so
--       the next message probes, but not during a pause that the carrier asked for
-- Returns: 1
local t = redis.call('TIME')
local now = t[1] * 1000000 + t[2] + ARGV[3] * 1000
if ARGV[6] ~= '' then
  local probe, paused = unpack(redis.call('HMGET', KEYS[1], 'probe', 'paused'))
  local may = ARGV[6] == 'unsent' or tonumber(paused or '0') <= now
  if probe == ARGV[4] and may then redis.call('HDEL', KEYS[1], 'probe') end
  return 1
end
local worth = ARGV[2] * 1000000 / ARGV[1]
if ARGV[4] ~= '' then worth = math.min(worth, math.max(0, ARGV[4] - now)) end
for _, field in ipairs(ARGV[5] == '1' and {'tat'} or {'tat', 'ramped'}) do
  local tat = redis.call('HGET', KEYS[1], field)
  if tat then redis.call('HSET', KEYS[1], field, string.format('%.0f', tat - worth)) end
end
return 1

-- Divides the connections of a carrier among all workers, and renews the claim of one worker. The worker that waits longest goes first. If
-- there are too few connections for all, some workers get none. A worker gets no more than the others leave.
-- KEYS: 1 shares
-- ARGV: 1 worker, 2 connections of the installation, 3 connections that a share has at least, 4 connections that the worker holds, 5 "1" if
--       one of them works, 6 "1" if the worker goes behind those with "0", 7 ms since the carrier failed the worker, which then goes behind
--       all workers that it does not fail ("": it does not fail this one), 8 ms after which a silent worker is dead, 9 skew (ms)
-- Returns: {connections that the worker may have, connections that the others claim, how many of the others have one that works}
local me, most, life, now = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[8]), now_ms(ARGV[9])
local others, working, since, line = 0, 0, now, {}
local all = redis.call('HGETALL', KEYS[1])
for i = 1, #all, 2 do
  local began, rank, claimed, works, at = string.match(all[i + 1], '^(%d+) (%d) (%d+) (%d) (%d+)$')
  if all[i] == me then
    since = tonumber(began)
  elseif math.abs(now - at) > life then
    redis.call('HDEL', KEYS[1], all[i])
  else
    others, working = others + claimed, working + works
    line[#line + 1] = {rank, tonumber(began), all[i]}
  end
end
local failed = ARGV[7] ~= ''
if failed then since = now - ARGV[7] end
local rank = string.format('%d', ARGV[6] + (failed and 2 or 0))
line[#line + 1] = {rank, since, me}
table.sort(line, function(a, b)
  if a[1] ~= b[1] then return a[1] < b[1] end
  if a[2] ~= b[2] then return a[2] < b[2] end
  return a[3] < b[3]
end)
local holders, share = math.max(1, math.min(#line, math.floor(most / ARGV[3]))), 0
for place = 1, holders do
  if line[place][3] == me then share = math.floor(most / holders) + (place <= most % holders and 1 or 0) end
end
local granted = math.max(0, math.min(share, most - others))
local claim = math.max(granted, tonumber(ARGV[4]))
redis.call('HSET', KEYS[1], me, string.format('%.0f %s %d %s %.0f', since, rank, claim, ARGV[5], now))
redis.call('PEXPIRE', KEYS[1], life)
return {granted, others, working}

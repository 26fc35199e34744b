-- GCRA on the server's clock in microseconds: a block of permits for one carrier. What is loud is served first: the rest leaves
-- it a tenth of the bucket, and gets nothing while it waits. (Shares between alerts, quotas and a ramp-up: not here yet.)
-- KEYS: 1 limiter
-- ARGV: 1 permits a second, 2 burst (permits), 3 wanted, 4 least that is of use, 5 skew (ms), 6 "1" for what is loud,
--       7 ms between two probes of a carrier that is paused
-- Returns: {granted, microseconds to wait when none}; both when the carrier is paused and this is to probe it
local t = redis.call('TIME')
local now = t[1] * 1000000 + t[2] + ARGV[5] * 1000
local rate, burst, wanted, least = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
local loud = ARGV[6] == '1'
local AFTER_LOUD = 1000000 -- who is loud and had to wait has sent by then, and asks again
local function at(moment) return string.format('%.0f', moment) end
local tat, paused, pause, probe, served = unpack(redis.call('HMGET', KEYS[1], 'tat', 'paused', 'pause', 'probe', 'loud'))
paused, pause, served = tonumber(paused or '0'), tonumber(pause or '0'), tonumber(served or '0')
if paused - now > pause then -- the clock was set back: the pause begins anew, or it would last as long as the step
  paused = now + pause
  redis.call('HSET', KEYS[1], 'paused', at(paused))
end
if paused > now then -- what the carrier said may be wrong, or meant for one recipient: what is loud asks again
  local every = ARGV[7] * 1000
  local due = math.max(tonumber(probe or '0'), paused - pause + every)
  if not loud or (due > now and due - now <= every) then return {0, paused - now} end
  redis.call('HSET', KEYS[1], 'probe', at(now + every))
  return {least, paused - now}
end
if not loud and served > now then return {0, math.min(served - now, AFTER_LOUD)} end
local each = 1000000 / rate
burst = math.max(burst, least) -- what costs more than the burst goes when the bucket is full, rather than never
local kept = loud and 0 or math.min(burst / 10, burst - least)
-- Never further ahead than a full bucket's worth, which only a clock that was set back or a rate that was raised can cause.
tat = math.min(math.max(tonumber(tat or '0'), now), now + burst * each)
local room = math.floor(burst - kept - (tat - now) / each + 1e-6)
if room < least then
  local wait = math.ceil((least + kept - burst) * each + tat - now)
  if loud then redis.call('HSET', KEYS[1], 'loud', at(now + wait + AFTER_LOUD)) end
  return {0, wait}
end
local granted = math.min(room, wanted)
redis.call('HSET', KEYS[1], 'tat', at(tat + granted * each))
redis.call('PEXPIRE', KEYS[1], math.max(60000, math.ceil(burst * each / 1000) + 1000))
return {granted, 0}

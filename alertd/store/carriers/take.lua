-- Grants a block of permits to send to one carrier: a rate limiter (GCRA) on the server's clock, in microseconds. Loud alerts are served
-- first: the others leave a tenth of the bucket for them, and get nothing while a loud alert waits. The others also ramp up: a second GCRA,
-- whose rate and burst grow linearly from a floor to the full value. A ramp begins with the first request after a silence as long as a
-- ramp.
-- KEYS: 1 limiter
-- ARGV: 1 permits a second, 2 burst (permits), 3 wanted, 4 smallest useful number, 5 skew (ms), 6 "1" for a loud alert, 7 ms between two
--       probes of a paused carrier, 8 ramp (ms; 0: none), 9 fraction of the rate with which a ramp begins, 10 ms by which this caller
--       delays a due probe, so that a new message probes first
-- Returns: {granted, microseconds to wait if none is granted, mark}. A block with both permits and a wait is a probe of a paused or resting
--          carrier. The mark is the time of the probe, or the time at which all permits of this block would have been refilled
--          (microseconds)
local t = redis.call('TIME')
local now = t[1] * 1000000 + t[2] + ARGV[5] * 1000
local rate, burst, wanted, least = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
local loud = ARGV[6] == '1'
local TRIED = 5000000 -- how long to wait for the outcome of a probe (us)
local AFTER_LOUD = 1000000 -- a loud alert that had to wait has sent by then, and asks again (us)
local function at(moment) return string.format('%.0f', moment) end
local tat, paused, pause, probe, served, began, asked, ramped, rests = unpack(
  redis.call('HMGET', KEYS[1], 'tat', 'paused', 'pause', 'probe', 'loud', 'began', 'asked', 'ramped', 'rests'))
paused, pause, served = tonumber(paused or '0'), tonumber(pause or '0'), tonumber(served or '0')
if paused - now > pause then -- the clock was set back: the pause begins anew, or it would last as long as the step
  paused = now + pause
  redis.call('HSET', KEYS[1], 'paused', at(paused))
end
if paused > now then -- the carrier's answer may be wrong, or about one recipient: loud alerts probe
  local every = ARGV[7] * 1000 + ARGV[10] * 1000
  local due = math.max(tonumber(probe or '0'), paused - pause) + every
  if not loud or (due > now and due - now <= every) then return {0, paused - now, 0} end
  redis.call('HSET', KEYS[1], 'probe', at(now))
  return {least, paused - now, now}
end
if rests then -- the rest is over: one message probes; if its outcome stays unknown, the next one does
  local yields = ARGV[10] * 1000
  local due = math.max(tonumber(probe or '0') + TRIED, paused) + yields
  if due > now and due - now <= TRIED + yields then return {0, due - now, 0} end
  redis.call('HSET', KEYS[1], 'probe', at(now))
  return {least, TRIED, now}
end
local share, ramp = 1, loud and 0 or ARGV[8] * 1000
if ramp > 0 then
  began, asked = tonumber(began or '0'), tonumber(asked or '0')
  if now < asked then began = began + now - asked end -- the clock was set back: the ramp continues from where it was
  local floor = math.min(1, math.max(ARGV[9], 1 / rate)) -- a permit a second at least, or a slow carrier never began
  if now - asked >= ramp + least * 1000000 / (rate * floor) then began = now end -- no silence: waiting for one's turn
  redis.call('HSET', KEYS[1], 'began', at(began), 'asked', at(now))
  share = math.min(1, floor + (1 - floor) * (now - began) / ramp)
end
-- Returns the theoretical arrival time of a GCRA (microseconds), the permits that are available, and the microseconds until the smallest
-- useful number is available. `kept`: permits that must stay in the bucket.
local function bucket(field, tat, rate, burst, kept)
  local each = 1000000 / rate
  burst = math.max(burst, least) -- what costs more than the burst goes when the bucket is full, rather than never
  kept = math.min(kept, burst - least)
  tat = math.max(tonumber(tat or '0'), now)
  if tat > now + burst * each then -- only a clock that was set back or a rate that was raised can be so far ahead
    tat = now + burst * each
    redis.call('HSET', KEYS[1], field, at(tat))
  end
  return tat, math.floor(burst - kept - (tat - now) / each + 1e-6), math.ceil((least + kept - burst) * each + tat - now)
end
local room, wait, ramp_room, ramp_wait
local was = tonumber(tat or '0')
tat, room, wait = bucket('tat', tat, rate, burst, loud and 0 or burst / 10)
if tat < was then -- the loud alert has sent by now, or asks again
  served = 0
  redis.call('HDEL', KEYS[1], 'loud')
end
if not loud and served > now then return {0, math.min(served - now, AFTER_LOUD), 0} end
ramped, ramp_room, ramp_wait = bucket('ramped', ramped, rate * share, burst * share, 0)
if ramp == 0 then ramp_room, ramp_wait = room, wait end
if loud and room < least then redis.call('HSET', KEYS[1], 'loud', at(now + wait + AFTER_LOUD)) end
local granted = math.min(room, ramp_room, wanted)
granted = granted - granted % least
if granted < least then return {0, math.max(wait, ramp_wait), 0} end
local mark = tat + granted * 1000000 / rate
redis.call('HSET', KEYS[1], 'tat', at(mark))
if ramp > 0 then
  ramped = ramped + granted * 1000000 / (rate * share)
  redis.call('HSET', KEYS[1], 'ramped', at(ramped))
  mark = math.min(mark, ramped)
end
redis.call('PEXPIRE', KEYS[1], math.max(60000, math.ceil(math.max(burst, least) * 1000 / rate) + 1000, ramp / 1000 + 1000))
return {granted, 0, mark}

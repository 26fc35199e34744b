-- Claims an external id for an alert that is about to become pending. If another alert has the id, returns the stored claim: the caller
-- checks whether that alert is still active.
-- KEYS: 1 name, 2 its other name during a key rotation: the script uses this one if it exists
-- ARGV: 1 alert id, 2 its revision, 3 ms within which it must become pending, 4 when it ends (UNIX ms), 5 skew
-- Returns: {} if this alert has the id now; else {the stored claim ("alert until revision"), 1 until the claim's time is over, then 0}
local name = KEYS[2] and redis.call('EXISTS', KEYS[2]) == 1 and KEYS[2] or KEYS[1]
local standing, now = redis.call('GET', name), now_ms(ARGV[5])
if standing then
  local holder, till = string.match(standing, '^(%S+) ?(%d*)')
  if holder == ARGV[1] then return {} end
  return {standing, (tonumber(till) or 0) > now and 1 or 0}
end
redis.call('SET', name, string.format('%s %.0f %s', ARGV[1], now + tonumber(ARGV[3]), ARGV[2]), 'PXAT', ARGV[4])
return {}

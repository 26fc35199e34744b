-- Takes an external id for an alert that is to be pending next. Who took it before and is no longer under way is told, to be looked at.
-- KEYS: 1 name, 2 its other name, while a name key is joining: if it exists, it is used
-- ARGV: 1 alert id, 2 its revision, 3 ms within which it is to be pending, 4 when it ends (UNIX ms), 5 skew
-- Returns: {} where it is taken, or was by this alert before; else {the claim that stands ("id until revision"), 1 until its time is
--          over, 0 then}
local name = KEYS[2] and redis.call('EXISTS', KEYS[2]) == 1 and KEYS[2] or KEYS[1]
local standing, now = redis.call('GET', name), now_ms(ARGV[5])
if standing then
  local holder, till = string.match(standing, '^(%S+) ?(%d*)')
  if holder == ARGV[1] then return {} end
  return {standing, (tonumber(till) or 0) > now and 1 or 0}
end
redis.call('SET', name, string.format('%s %.0f %s', ARGV[1], now + tonumber(ARGV[3]), ARGV[2]), 'PXAT', ARGV[4])
return {}

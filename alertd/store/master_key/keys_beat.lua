-- Stores the heartbeat of a process with the names of its master keys, adds its seals to the counters, and returns the current key and the
-- state of a rotation. One step, so that a new process always learns of a rotation that began without it.
-- KEYS: 1 processes, 2 seals, 3 rotation, 4 check value
-- ARGV: 1 process, 2 names of its keys, the one it seals with first ('' if the process ends), 3 ms after which a silent process is dead,
--       4 skew, 5... pairs: counter of seals, number to add
-- Returns: {check value (name of the current master key), fields and values of the rotation}
local now = now_ms(ARGV[4])
if ARGV[2] == '' then
  redis.call('HDEL', KEYS[1], ARGV[1])
else
  redis.call('HSET', KEYS[1], ARGV[1], string.format('%.0f %s', now, ARGV[2]))
end
local all = redis.call('HGETALL', KEYS[1])
for i = 1, #all, 2 do
  if now - tonumber(string.match(all[i + 1], '^%d+')) > tonumber(ARGV[3]) then redis.call('HDEL', KEYS[1], all[i]) end
end
for i = 5, #ARGV, 2 do redis.call('HINCRBY', KEYS[2], ARGV[i], ARGV[i + 1]) end
return {redis.call('GET', KEYS[4]), redis.call('HGETALL', KEYS[3])}

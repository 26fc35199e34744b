-- Writes subscribers' records of one slot. Replaces a record only if it has the version that the caller read (0: none), and only before
-- a deadline, while the sweeper cannot have deleted the caller's new cell records. A number that was given up is not written again: a
-- version that no record has is stored there, for longer than any process that read the number before may take to write.
-- KEYS: 1... records
-- ARGV: 1 deadline (ms, server time; 0 for none), 2 skew, 3 how long a number that is given up stays reserved (ms),
--       4... pairs: expected version, record ('' to give the number up); a record begins with its own version (4 bytes)
-- Returns: "1" or "0" for each record
local GIVEN_UP = struct.pack('<I4', 4294967295)
local done, late = {}, ARGV[1] ~= '0' and now_ms(ARGV[2]) > tonumber(ARGV[1])
for i = 1, (#ARGV - 3) / 2 do
  local name, expected, record = KEYS[i], tonumber(ARGV[2 * i + 2]), ARGV[2 * i + 3]
  local head = redis.call('GETRANGE', name, 0, 3)
  local version = #head == 4 and struct.unpack('<I4', head) or 0
  if late or version ~= expected then
    done[i] = '0'
  else
    if record == '' then redis.call('SET', name, GIVEN_UP, 'PX', ARGV[3]) else redis.call('SET', name, record) end
    done[i] = '1'
  end
end
return table.concat(done)

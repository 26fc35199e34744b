-- Writes subscribers' records of one slot, each only over the version the caller read (0: there was none), and only while
-- the records it appended to cells cannot have been swept. A number that was given up is not written again: for a while a
-- version that nothing has stands there, longer than whoever read the number before may take to write.
-- KEYS: 1... records
-- ARGV: 1 not after (ms, server's time; 0 for no limit), 2 skew, 3 how long a number given up is kept from others (ms),
--       4... pairs: version expected, record ('' to give the number up); a record begins with its own version (4 bytes)
-- Returns: one "1" or "0" a record
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

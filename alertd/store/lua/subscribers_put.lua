-- Writes subscribers' records of one slot, each only over the version the caller read (0: there was none), and only while
-- the records it appended to cells cannot have been swept.
-- KEYS: 1... records
-- ARGV: 1 not after (ms, server's time; 0 for no limit), 2 skew, 3... pairs: version expected, record ('' to remove);
--       a record begins with its own version (4 bytes)
-- Returns: one "1" or "0" a record
local done, late = {}, ARGV[1] ~= '0' and now_ms(ARGV[2]) > tonumber(ARGV[1])
for i, name in ipairs(KEYS) do
  local expected, record = tonumber(ARGV[2 * i + 1]), ARGV[2 * i + 2]
  local head = redis.call('GETRANGE', name, 0, 3)
  local version = #head == 4 and struct.unpack('<I4', head) or 0
  if late or version ~= expected then
    done[i] = '0'
  else
    if record == '' then redis.call('DEL', name) else redis.call('SET', name, record) end
    done[i] = '1'
  end
end
return table.concat(done)

-- Stores an update of an alert, a later version, as pending until a second person approves it. An earlier update that was returned to its
-- author becomes rejected.
-- KEYS: 1 chain (an alert with its versions)
-- ARGV: 1 alert id, 2 states it may be in (comma before and after each), 3 revision of the alert that the caller read, 4 number of the
--       chain's last version that the caller read, 5 id of the update, 6 area (packed), 7 skew, 8... fields of the update
-- Returns: {1 or 0, the alert's state; the reason for a refusal can also be 'changed', 'expired', 'again' (another last version) or the id
--          of an update that is pending already}
local chain, version_key = KEYS[1], key(KEYS[1], 'version', ARGV[1])
local state, misfit = check_state(version_key, ARGV[2], ARGV[3])
if misfit then return misfit end
local last, now = redis.call('HGET', chain, 'last') or '1', chain_now(chain, ARGV[7])
if has_ended(chain, redis.call('HGET', version_key, 'expires'), now) then return {0, 'expired'} end
if last ~= ARGV[4] then return {0, 'again'} end
local returned = {}
for _, one in ipairs({unpack(versions_of(chain, ARGV[1]), 2)}) do
  local at = redis.call('HGET', key(chain, 'version', one), 'state')
  if at == 'pending' then return {0, one} end
  if at == 'returned' then returned[#returned + 1] = one end
end
for _, one in ipairs(returned) do enter(chain, one, 'rejected', now) end
redis.call('HSET', chain, 'last', last + 1)
redis.call('SET', key(chain, 'area', ARGV[5]), ARGV[6])
redis.call('HSET', key(chain, 'version', ARGV[5]), 'created', now, unpack(ARGV, 8))
enter(chain, ARGV[5], 'pending', now)
return {1, state}

-- Pauses or resumes the sending of an alert with all its versions. The caller may name any version. The revision of every version
-- increases.
-- KEYS: 1 chain (an alert with its versions)
-- ARGV: 1 id of the named version, 2 id of the first version, 3 "1" to pause, 4 revision that the caller read ('' for any), 5 skew, 6...
--       fields to set on the named version
-- Returns: {1 or 0, the state of the named version; 'changed' if the revision is another; 'unseen' if the alert has ended or is stood down
--          and the caller gave no revision}
local chain, version_key = KEYS[1], key(KEYS[1], 'version', ARGV[1])
local state, rev = unpack(redis.call('HMGET', version_key, 'state', 'rev'))
local waits, told = redis.call('HGET', chain, 'paused') == '1', false
if not state then return {0, ''} end
for _, one in ipairs(versions_of(chain, ARGV[2])) do
  told = told or OPEN[redis.call('HGET', key(chain, 'version', one), 'state')]
end
if not told and not waits then return {0, state} end
if ARGV[4] ~= '' and ARGV[4] ~= rev then return {0, 'changed'} end
if waits == (ARGV[3] == '1') then return {1, state} end
-- The message that ends or hides the alert is paused only if the caller gave the revision, which proves that the caller saw this state.
local first = redis.call('HGET', key(chain, 'version', ARGV[2]), 'state')
if ARGV[3] == '1' and ARGV[4] == '' and (QUEUED_BECOMES[first] or first == 'stood_down') then return {0, 'unseen'} end
redis.call('HSET', chain, 'paused', ARGV[3])
redis.call('HSET', version_key, unpack(ARGV, 6))
for _, one in ipairs(versions_of(chain, ARGV[2])) do redis.call('HINCRBY', key(chain, 'version', one), 'rev', 1) end
record_event(chain, ARGV[2], chain_now(chain, ARGV[5]), waits and 'resumed' or 'paused',
  {rev = redis.call('HGET', key(chain, 'version', ARGV[2]), 'rev')})
return {1, state}

-- Checks whether a worker may still write the messages that the gate permitted: its lease is alive, the gate is open, and the version still
-- has the revision that the texts were made from. Changes no row.
-- KEYS: 1 chain (an alert with its versions)
-- ARGV: 1 alert id, 2 lease, 3 revision, 4 skew
-- Returns: 1 or 0
local chain = KEYS[1]
local open = gate_of(chain, ARGV[1], chain_now(chain, ARGV[4])) == 'open'
local same = redis.call('HGET', key(chain, 'version', ARGV[1]), 'rev') == ARGV[3]
return open and same and redis.call('HEXISTS', key(chain, 'leases'), ARGV[2]) or 0

-- Whether what the gate let through may still be written: the lease lives, and the gate is open. Moves nothing.
-- KEYS: 1 chain
-- ARGV: 1 alert id, 2 lease, 3 skew
-- Returns: 1 or 0
local chain = KEYS[1]
local open = gate_of(chain, ARGV[1], chain_now(chain, ARGV[3])) == 'open'
return open and redis.call('HEXISTS', key(chain, 'leases'), ARGV[2]) or 0

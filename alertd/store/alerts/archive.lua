-- Replaces the ledger and the references of a version by a compressed copy, if nothing of its alert can be sent any more.
-- KEYS: 1 chain (an alert with its versions)
-- ARGV: 1 alert id, 2 states in which the alert has ended (comma before and after each), 3 SHA-1 of the ledger that was compressed, 4 the
--       copy, 5 time at which the copy expires (UNIX ms; 0: never), 6 skew
-- Returns: 1, or 0 if the alert has not ended, rows are open, or the ledger has changed since it was compressed
local chain, alert = KEYS[1], ARGV[1]
local head = string.match(alert, '^([^-]+)')
local _, misfit = check_state(key(chain, 'version', head), ARGV[2], '')
if misfit or gate_of(chain, alert, chain_now(chain, ARGV[6])) ~= 'closed' then return 0 end
local flat = redis.call('HGETALL', key(chain, 'counts', alert))
for i = 1, #flat, 2 do
  local word = string.match(flat[i], '%.([^.]*)$')
  if (word == 'queued' or word == 'in_flight') and tonumber(flat[i + 1]) > 0 then return 0 end
end
local ledger = redis.call('GET', key(chain, 'ledger', alert))
if not ledger or redis.sha1hex(ledger) ~= ARGV[3] then return 0 end
redis.call('SET', key(chain, 'closed', alert), ARGV[4])
if ARGV[5] ~= '0' then redis.call('PEXPIREAT', key(chain, 'closed', alert), ARGV[5]) end
redis.call('HSET', key(chain, 'version', alert), 'archived', ARGV[5])
redis.call('UNLINK', key(chain, 'ledger', alert), key(chain, 'refs', alert), key(chain, 'acked', alert))
return 1

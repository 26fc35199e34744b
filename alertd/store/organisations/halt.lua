-- Sets or lifts the halt of an alert, as one generation of the stops demands. Does nothing if a later generation was applied before.
-- KEYS: 1 chain (an alert with its versions)
-- ARGV: 1 generation, 2... stopped scopes: "service", "org:<org>" or "key:<org>:<key id>"
-- Returns: 1 if the alert is halted, else 0
local chain = KEYS[1]
local org, sent_by, seen, halt = unpack(redis.call('HMGET', chain, 'org', 'keys', 'stops', 'halt'))
if not org then return 0 end
if seen and tonumber(seen) > tonumber(ARGV[1]) then return halt and 1 or 0 end
local own = {['service'] = true, ['org:' .. org] = true}
for id in string.gmatch(sent_by or '', '%S+') do -- a key of another organisation begins with that organisation's name
  own['key:' .. (string.find(id, ':', 1, true) and id or org .. ':' .. id)] = true
end
local stopped = false
for i = 2, #ARGV do stopped = stopped or own[ARGV[i]] or false end
if seen ~= ARGV[1] then redis.call('HSET', chain, 'stops', ARGV[1]) end
if stopped and not halt then redis.call('HSET', chain, 'halt', 1) end
if halt and not stopped then redis.call('HDEL', chain, 'halt') end
return stopped and 1 or 0

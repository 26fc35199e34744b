-- Returns the events of an alert that are not in its organisation's stream yet, oldest first. Deletes those that are. Late reports of a
-- version become one event.
-- KEYS: 1 chain (an alert with its versions)
-- ARGV: 1 number of the alert's last event in the stream, 2 maximum number, 3 skew
-- Returns: {organisation, "1" if late reports wait for their common event, other organisations that get the events (separated by a space),
--          event (JSON), ...}
local chain, told, receipts = KEYS[1], key(KEYS[1], 'told'), key(KEYS[1], 'receipts')
local first = redis.call('LINDEX', told, 0)
while first and tonumber(cjson.decode(first).n) <= tonumber(ARGV[1]) do
  redis.call('LPOP', told)
  first = redis.call('LINDEX', told, 0)
end

local function sums(alert)
  local flat, found = redis.call('HGETALL', key(chain, 'counts', alert)), {}
  for i = 1, #flat, 2 do
    local word = string.match(flat[i], '[^.]*$')
    found[word] = (found[word] or 0) + flat[i + 1]
  end
  for word, count in pairs(found) do found[word] = count > 0 and string.format('%.0f', count) or nil end
  return found
end

local now = now_ms(ARGV[3])
for _, alert in ipairs(redis.call('ZRANGEBYSCORE', receipts, '-inf', now)) do
  record_event(chain, alert, now, 'receipts', sums(alert))
  redis.call('ZREM', receipts, alert)
end
local events, lent = redis.call('LRANGE', told, 0, ARGV[2] - 1), redis.call('HGET', chain, 'lent') or ''
for _, event in ipairs(events) do
  local org = string.find(event, 'permission_asked', 1, true) and cjson.decode(event).organisation
  if org and not string.find(' ' .. lent .. ' ', ' ' .. org .. ' ', 1, true) then
    lent = lent == '' and org or lent .. ' ' .. org
    redis.call('HSET', chain, 'lent', lent) -- stored here, because another process may remove the chain
  end
end
return {redis.call('HGET', chain, 'org') or '', tostring(redis.call('EXISTS', receipts)), lent, unpack(events)}

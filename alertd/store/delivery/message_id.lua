-- Stores the message of a carrier's id, or the carrier's report for that id, and returns the other one if it is stored already.
-- A caller that stores the message gets the report at every call, because the store may fail before the caller handles it.
-- If two messages have one id, it belongs to neither ('-'): a centre may use one id for all, or restart its numbers.
-- KEYS: 1 the id
-- ARGV: 1 the message (`<tag> <parts> <try>`) or the report (`!<state> <reason>`), 2 ms to keep it
-- Returns: the report for a message, the message for a report; nil if the other one is not stored yet
local fresh = ARGV[1]
local whose, said = string.match(redis.call('GET', KEYS[1]) or '', '^([^!]*)(.*)$')
local function keep(text) redis.call('SET', KEYS[1], text, 'PX', ARGV[2]) end
if fresh:sub(1, 1) == '!' then
  if whose ~= '' then return whose ~= '-' and whose end
  if said:sub(1, 2) ~= '!' .. S.delivered then keep(fresh) end
  return false
end
if whose ~= '' and whose ~= fresh then
  keep('-')
  return false
end
keep(fresh .. said)
return said ~= '' and said

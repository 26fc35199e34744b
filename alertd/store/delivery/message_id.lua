-- Keeps whose message a carrier's id is, and what the carrier said of it before: whichever comes second learns of the other. Who tells whose
-- it is hears that each time, for the store may have gone away before it was heeded.
-- An id that two messages have is nobody's ('-'): a centre may answer all with the same, or begin its numbers anew.
-- KEYS: 1 the id
-- ARGV: 1 whose it is (`<tag> <parts> <try>`) or what is said (`!<state> <reason>`), 2 ms to keep it
-- Returns: what is said to whoever tells whose it is, whose it is to whoever says something; nil where there is nothing yet
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

-- Keeps whose message a carrier's id is, or what the carrier says of it: whichever comes second learns of the other.
-- An id that two messages have is nobody's ('-'): a centre may answer all with the same, or begin its numbers anew.
-- KEYS: 1 the id
-- ARGV: 1 whose it is (`<tag> <parts>`) or what is said (`!<state> <reason>`), 2 ms to keep it
-- Returns: what is said to whoever tells whose it is, whose it is to whoever says something; nil where there is nothing yet
local function is_said(text) return text:sub(1, 1) == '!' end
local standing, fresh = redis.call('GET', KEYS[1]), ARGV[1]
if standing and is_said(fresh) and not is_said(standing) then return standing ~= '-' and standing end
if standing and not is_said(standing) and standing ~= fresh then fresh = '-' end
local outranked = standing and is_said(fresh) and standing:sub(1, 2) == '!' .. S.delivered
if not outranked then redis.call('SET', KEYS[1], fresh, 'PX', ARGV[2]) end
return standing and is_said(standing) and not is_said(fresh) and standing or false

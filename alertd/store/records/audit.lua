-- Appends one entry to an organisation's audit: with a number, the server's time and a link to the entry before it. The link is an HMAC
-- (RFC 2104, with the only hash that scripts have) under a key that is not in the store.
-- KEYS: 1 audit
-- ARGV: 1 content, sealed, 2 inner pad of the key (64 bytes), 3 outer pad, 4 skew
-- Returns: {number, link}
local audit, said = KEYS[1], ARGV[1]

local function field(pairs_, name)
  for i = 1, #pairs_, 2 do
    if pairs_[i] == name then return pairs_[i + 1] end
  end
end

-- Numbers continue after the highest ever used, so that deleting the last entries leaves a gap.
local number, at, before = 0, 0, ''
if redis.call('EXISTS', audit) == 1 then
  local stream = redis.call('XINFO', 'STREAM', audit)
  number = tonumber(string.match(field(stream, 'last-generated-id'), '^%d+'))
  local last = field(stream, 'last-entry')
  if last then at, before = tonumber(field(last[2], 'at')), field(last[2], 'link') end
end
number, at = string.format('%.0f', number + 1), string.format('%.0f', math.max(now_ms(ARGV[4]), at))

local inner = redis.sha1hex(ARGV[2] .. table.concat({audit, number, at, before, said}, '\n'))
local raw = {}
for i = 1, #inner, 8 do raw[#raw + 1] = struct.pack('>I4', tonumber(string.sub(inner, i, i + 7), 16)) end
local link = redis.sha1hex(ARGV[3] .. table.concat(raw))
redis.call('XADD', audit, number, 'at', at, 'link', link, 'said', said)
return {tonumber(number), link}

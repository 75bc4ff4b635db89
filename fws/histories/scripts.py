"""The Lua scripts that keep channels in Redis. Each runs as one atomic step. docs/redis.md describes the keys.

KEYS of every script: the stream of the channel's publications, and the hash with its position.

The hash has the fields `epoch` and `offset`; `run`, the process of Redis that has written it; `before`, the earlier
epochs, the newest first, each as `EPOCH:END:LOST`; `mark`, `claim`, `bytes` and `largest`, which are explained where
they are used; and for each node `n:NODE`, the number of its last publication here.

A Redis that was promoted or restarted may have lost what was written last, and would give the same offsets again. It
has another `run`. The epoch then ends and another one begins, while the offsets go on. `END` is the last offset that
this Redis has of the epoch, and `LOST` the last one that some node is known to have seen. If they differ, publications
were lost, and every node is told.
"""

from __future__ import annotations

from typing import Final

# ARGV of every script. What stays the same for a channel comes first, so that it is encoded once: 1 the channel in
# Redis, 2 the command that publishes, 3 the process of this Redis, or empty if it is not known, 4 milliseconds for
# which the position is kept, 5 the node, 6 the most publications, 7 their age in milliseconds, 8 their bytes. Then 9 an
# epoch to use if one begins, 10 and 11 the epoch and offset that the node has seen, or empty and 0.
_BEGIN = """
local stream, meta = KEYS[1], KEYS[2]
local channel, verb, run, lasting, node = ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5]
local most, age, size = tonumber(ARGV[6]), ARGV[7], tonumber(ARGV[8])
local candidate, seen_epoch, seen_offset = ARGV[9], ARGV[10], tonumber(ARGV[11])
local fields = {'epoch', 'offset', 'run', 'before', 'n:' .. node, 'bytes', 'largest', 'claim'}
local kept = redis.call('HMGET', meta, unpack(fields))
local epoch, offset, before = kept[1], tonumber(kept[2] or 0), kept[4] or ''
if not epoch then
  epoch, offset = candidate, 0
  redis.call('DEL', stream)
  redis.call('HSET', meta, 'epoch', epoch, 'offset', 0, 'run', run)
  redis.call('PEXPIRE', meta, lasting)
elseif run ~= '' and kept[3] == '' then
  -- Another program has begun the numbering.
  redis.call('HSET', meta, 'run', run)
elseif (run ~= '' and kept[3] ~= run) or (seen_epoch == epoch and seen_offset > offset) then
  local earlier = {epoch .. ':' .. offset .. ':' .. offset}
  for one in string.gmatch(before, '%S+') do
    if #earlier < 5 then earlier[#earlier + 1] = one end
  end
  before = table.concat(earlier, ' ')
  epoch = candidate
  redis.call('HSET', meta, 'epoch', epoch, 'run', run, 'before', before)
end
if seen_epoch ~= '' and seen_epoch ~= epoch then
  local changed = false
  before = string.gsub(before, '(%S+):(%d+):(%d+)', function (name, ending, lost)
    if name == seen_epoch and seen_offset > tonumber(lost) then
      changed = true
      return name .. ':' .. ending .. ':' .. seen_offset
    end
  end)
  if changed then
    redis.call('HSET', meta, 'before', before)
    redis.call(verb, channel, '\\0fws!{"lost":"' .. seen_epoch .. ':' .. seen_offset .. '"}')
  end
end
"""

# Further ARGV: 12 the claim, or empty; then for each publication its number and its envelope without the beginning.
#
# A publication whose number the node has used was stored already: an answer was lost, and the node has sent it again.
# The offsets are reserved first. Should Redis fail in between, that leaves a hole, which is announced as a gap, and
# never the same offset twice.
#
# `MAXLEN ~` drops whole nodes of the stream, and costs a third less. Readers heed the exact number. `bytes` counts all
# that was ever stored, and each entry has its value in `b`, so that the size of the stream is a difference. It is only
# computed if the largest publication so far could make the stream too large.
#
# A claim is `OFFSET:MARK:COUNT`, for another program's message: the COUNT-th after the last publication or mark. All
# nodes that have received it have the same claim, and the first of them stores it.
#
# The reply has the offset of each publication. For one that was stored already, the newest 1000 entries of the stream
# are searched for its number, which each entry has in `n`. The offset is 0 if it is not found.
_PUBLISH = """
local claim = ARGV[12]
local last, bytes, largest = tonumber(kept[5] or 0), tonumber(kept[6] or 0), tonumber(kept[7] or 0)
if claim ~= '' then
  local a, b, c = string.match(claim, '(%d+):(%d+):(%d+)')
  local x, y, z = string.match(kept[8] or '0:0:0', '(%d+):(%d+):(%d+)')
  a, b, c, x, y, z = tonumber(a), tonumber(b), tonumber(c), tonumber(x), tonumber(y), tonumber(z)
  if a < x or (a == x and (b < y or (b == y and c <= z))) then return {epoch, offset, {}} end
end
local fresh, numbers, places, stored, left = {}, {}, {}, {}, 0
for i = 13, #ARGV, 2 do
  local number, envelope = tonumber(ARGV[i]), ARGV[i + 1]
  if number > last or claim ~= '' then
    fresh[#fresh + 1] = envelope
    numbers[#fresh] = number
    places[#places + 1] = offset + #fresh
    if number > last then last = number end
    if #envelope > largest then largest = #envelope end
  else
    places[#places + 1] = 0
    stored[number], left = {#places, envelope}, left + 1
  end
end
local top = '+'
for searched = 1, 10 do
  if left == 0 then break end
  local found = redis.call('XREVRANGE', stream, top, '-', 'COUNT', 100)
  for i = 1, #found do
    local fields = found[i][2]
    local one = stored[tonumber(fields[6] or 0)]
    -- Other nodes have the same numbers, and other envelopes.
    if one and string.sub(fields[2], -#one[2]) == one[2] then
      places[one[1]], left = tonumber(string.match(found[i][1], '%d+')), left - 1
    end
  end
  if #found < 100 then break end
  top = '(' .. found[100][1]
end
if #fresh == 0 then return {epoch, offset, places} end
local total = bytes
for i = 1, #fresh do total = total + #fresh[i] end
redis.call('HSET', meta, 'offset', offset + #fresh, 'n:' .. node, last, 'bytes', total, 'largest', largest, 'mark', 0)
if claim ~= '' then redis.call('HSET', meta, 'claim', claim) end
local now = redis.call('TIME')
local at = '-' .. now[1] .. string.format('%03d', math.floor(now[2] / 1000))
local start = '\\0fws1{"epoch":"' .. epoch .. '","offset":'
for i = 1, #fresh do
  offset, bytes = offset + 1, bytes + #fresh[i]
  local envelope = start .. offset .. ',' .. fresh[i]
  redis.call('XADD', stream, 'MAXLEN', '~', most, offset .. at, 'e', envelope, 'b', bytes, 'n', numbers[i])
  redis.call(verb, channel, envelope)
end
if largest * most > size then
  local first = redis.call('XRANGE', stream, '-', '+', 'COUNT', 1)
  while first[1] do
    local entry = first[1]
    if bytes - tonumber(entry[2][4]) + #entry[2][2] <= size then break end
    redis.call('XTRIM', stream, 'MINID', '=', (tonumber(string.match(entry[1], '%d+')) + 1) .. '-0')
    first = redis.call('XRANGE', stream, '-', '+', 'COUNT', 1)
  end
end
redis.call('PEXPIRE', stream, age)
redis.call('PEXPIRE', meta, lasting)
return {epoch, offset, places}
"""

# Further ARGV: 12 "1" to publish a mark. A mark shows a node that has just subscribed where it is among the channel's
# publications: all nodes receive it at the same place.
_POSITION = """
if ARGV[12] == '1' then
  local mark = redis.call('HINCRBY', meta, 'mark', 1)
  redis.call(verb, channel, '\\0fws!{"mark":"' .. offset .. ':' .. mark .. '"}')
end
redis.call('PEXPIRE', meta, lasting)
if redis.call('HLEN', meta) > 200 then
  -- Nodes that have ended leave their numbers behind.
  for _, field in ipairs(redis.call('HKEYS', meta)) do
    if string.sub(field, 1, 2) == 'n:' then redis.call('HDEL', meta, field) end
  end
end
return {epoch, offset}
"""

# Further ARGV: 12 and 13 the epoch and offset after which to read, or empty and how many of the newest.
_READ = """
local after_epoch, after = ARGV[12], tonumber(ARGV[13])
local complete, from = 1, 0
if after_epoch == '' then
  from = math.max(0, offset - after)
elseif after_epoch == epoch then
  from = math.min(after, offset)
  if after > offset then complete = 0 end
else
  complete = 0
  for name, ending, lost in string.gmatch(before, '(%S+):(%d+):(%d+)') do
    if name == after_epoch then
      from = math.min(after, tonumber(ending))
      if after >= tonumber(lost) or lost == ending then complete = 1 end
    end
  end
end
local first = math.max(from, offset - most)
local found = redis.call('XRANGE', stream, (first + 1) .. '-0', '+')
local now = redis.call('TIME')
local oldest = now[1] * 1000 + math.floor(now[2] / 1000) - tonumber(age)
local entries = {}
for i = 1, #found do
  if #entries > 0 or tonumber(string.match(found[i][1], '%-(%d+)')) >= oldest then
    entries[#entries + 1] = found[i][2][2]
    if #entries == 1 then first = tonumber(string.match(found[i][1], '%d+')) - 1 end
  end
end
if #entries == 0 then first = offset end
if after_epoch ~= '' and first > from then complete = 0 end
return {epoch, offset, complete, entries}
"""

# Further ARGV: 12 "1" if there is a position, 13 and 14 its epoch, which may be empty, and its offset; 15 the most
# entries, or below 0 for all; 16 "1" for backwards.
#
# Publications expire in the order of their offsets, so that the first one that is young enough is found by bisection.
_PAGE = """
local since_epoch, since, limit, backwards = ARGV[13], tonumber(ARGV[14]), tonumber(ARGV[15]), ARGV[16] == '1'
local known, complete = true, 1
if ARGV[12] == '1' and since_epoch ~= '' and since_epoch ~= epoch then
  known = false
  for name, ending, lost in string.gmatch(before, '(%S+):(%d+):(%d+)') do
    if name == since_epoch and (since >= tonumber(lost) or lost == ending) then
      known, since = true, math.min(since, tonumber(ending))
    end
  end
end
if ARGV[12] == '1' and (not known or since > offset) then return {epoch, offset, 0, {}} end
local now = redis.call('TIME')
local oldest = now[1] * 1000 + math.floor(now[2] / 1000) - tonumber(age)
local first, last, beyond = math.max(1, offset - most + 1), offset, offset + 1
while first < beyond do
  local middle = math.floor((first + beyond) / 2)
  local found = redis.call('XRANGE', stream, middle .. '-0', '+', 'COUNT', 1)[1]
  if found and tonumber(string.match(found[1], '%-(%d+)')) < oldest then
    first = tonumber(string.match(found[1], '%d+')) + 1
  else
    beyond = middle
  end
end
local entry = redis.call('XRANGE', stream, first .. '-0', '+', 'COUNT', 1)[1]
first = entry and tonumber(string.match(entry[1], '%d+')) or offset + 1
if ARGV[12] == '1' and backwards then
  last = since - 1
elseif ARGV[12] == '1' then
  if since + 1 < first then complete = 0 end
  first = math.max(first, since + 1)
end
if limit >= 0 and backwards then
  first = math.max(first, last - limit + 1)
elseif limit >= 0 then
  last = math.min(last, first + limit - 1)
end
local entries = {}
if first <= last then
  local found
  if backwards then
    found = redis.call('XREVRANGE', stream, last, first)
  else
    found = redis.call('XRANGE', stream, first, last)
  end
  for i = 1, #found do entries[i] = found[i][2][2] end
end
return {epoch, offset, complete, entries}
"""

# Only the stream: the position stays.
_REMOVE = """
redis.call('DEL', stream)
return {epoch, offset}
"""

PUBLISH: Final = (_BEGIN + _PUBLISH).encode()
POSITION: Final = (_BEGIN + _POSITION).encode()
READ: Final = (_BEGIN + _READ).encode()
PAGE: Final = (_BEGIN + _PAGE).encode()
REMOVE: Final = (_BEGIN + _REMOVE).encode()
ALL: Final = (PUBLISH, POSITION, READ, PAGE, REMOVE)

"""The Lua scripts that keep presence in Redis. Each runs as one atomic step. docs/redis.md describes the keys."""

from __future__ import annotations

from typing import Final

# KEYS: the hash of those who are present, by client; the hash of those who linger, client by user. ARGV: 1 the channel
# in Redis, 2 the command that publishes, 3 milliseconds for which both are kept; then for each change: what, client,
# user, value.
#
# "+" joins, or has other info. "-" leaves. "?" leaves and lingers. "!" has lingered for long enough.
CHANGE: Final = b"""
local present, lingering, channel, verb = KEYS[1], KEYS[2], ARGV[1], ARGV[2]
local joined, left, returned = {}, {}, {}
local function leave(client)
  if redis.call('HDEL', present, client) == 1 then left[#left + 1] = '"' .. client .. '"' end
end
for i = 4, #ARGV, 4 do
  local what, client, user, value = ARGV[i], ARGV[i + 1], ARGV[i + 2], ARGV[i + 3]
  if what == '+' then
    local before = user ~= '' and redis.call('HGET', lingering, user)
    if before and (before == client or redis.call('HEXISTS', present, client) == 0) then
      redis.call('HDEL', lingering, user)
      if redis.call('HDEL', present, before) == 1 then
        redis.call('HSET', present, client, value)
        returned[#returned + 1] = '["' .. before .. '",' .. value .. ']'
        before = client
      end
    end
    if before ~= client and redis.call('HGET', present, client) ~= value then
      redis.call('HSET', present, client, value)
      joined[#joined + 1] = value
    end
  elseif what == '-' then
    leave(client)
  elseif what == '?' then
    if redis.call('HEXISTS', present, client) == 1 then
      local before = redis.call('HGET', lingering, user)
      if before and before ~= client then leave(before) end
      redis.call('HSET', lingering, user, client)
    end
  elseif redis.call('HGET', lingering, user) == client then
    redis.call('HDEL', lingering, user)
    leave(client)
  end
end
redis.call('PEXPIRE', present, ARGV[3])
redis.call('PEXPIRE', lingering, ARGV[3])
if #joined + #left + #returned > 0 then
  local parts = {'"joined":[' .. table.concat(joined, ',') .. ']', '"left":[' .. table.concat(left, ',') .. ']',
    '"returned":[' .. table.concat(returned, ',') .. ']'}
  redis.call(verb, channel, '\\0fws!{' .. table.concat(parts, ',') .. '}')
end
return redis.call('HLEN', present)
"""
# One text, because an answer of 10,000 items takes five times as long to read.
WHO: Final = b"""
redis.call('PEXPIRE', KEYS[1], ARGV[1])
return table.concat(redis.call('HVALS', KEYS[1]), '\\n')
"""
# KEYS: the hash of nodes. ARGV: the node, or empty to ask only; milliseconds after which it is dead.
LIVE: Final = b"""
local now = redis.call('TIME')
now = now[1] * 1000 + math.floor(now[2] / 1000)
local known = redis.call('HEXISTS', KEYS[1], ARGV[1])
if ARGV[1] ~= '' then
  redis.call('HSET', KEYS[1], ARGV[1], now)
  redis.call('PEXPIRE', KEYS[1], 120000)
end
local alive, all = {}, redis.call('HGETALL', KEYS[1])
alive[1] = known
for i = 1, #all, 2 do
  local age = now - tonumber(all[i + 1])
  if age <= tonumber(ARGV[2]) then alive[#alive + 1] = all[i]
  elseif age > 60000 then redis.call('HDEL', KEYS[1], all[i]) end
end
return alive
"""

ALL: Final = (CHANGE, WHO, LIVE)

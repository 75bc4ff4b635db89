"""The journal in Redis: a stream for each log, under `[redis] prefix`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from fws.pipeline.journal import MAX_ITEM, Item
from fws.pipeline.storage import check
from fws.storages.redis import RedisStorage

# The most bytes of the items in one answer, unless the first is larger, and in one command.
MOST_BYTES = 1024 * 1024
# The most items in one command.
BATCH = 500

# ARGV: the most items, milliseconds until the log expires, then the number and data of each item. An id that is not
# above the last one is refused, which means that the item is there already or was.
_APPEND = """
for i = 3, #ARGV, 2 do
  local done = redis.pcall('XADD', KEYS[1], 'MAXLEN', '~', ARGV[1], ARGV[i] .. '-0', 'item', ARGV[i + 1])
  if type(done) == 'table' and done.err and not string.find(done.err, 'equal or smaller', 1, true) then return done end
end
redis.call('PEXPIRE', KEYS[1], ARGV[2])
return 1
"""
# ARGV: the first number, the most items, the most bytes of all, the most bytes of one. What is not an
# item becomes an empty one, because the reader has to get past it.
_READ = """
local found, size = {}, 0
for _, entry in ipairs(redis.call('XRANGE', KEYS[1], ARGV[1] .. '-0', '+', 'COUNT', ARGV[2])) do
  local data = ''
  if #entry[2] == 2 and entry[2][1] == 'item' and #entry[2][2] <= tonumber(ARGV[4]) then data = entry[2][2] end
  size = size + #data
  if #found > 0 and size > tonumber(ARGV[3]) then break end
  found[#found + 1] = entry[1]
  found[#found + 1] = data
end
return found
"""


class RedisJournal:
    """Keeps each log as a stream. Each command uses one key, so that it works with every kind of Redis.

    Args:
        storage: runs the commands, with its limits on time.
    """

    def __init__(self, storage: RedisStorage) -> None:
        self._storage = storage

    def append(self, log: str, items: Sequence[Item], *, most: int, expire: float) -> None:
        check(log, expire=expire)
        some: list[int | bytes] = []
        size = 0
        for item in items:
            if some and (size + len(item.data) > MOST_BYTES or len(some) >= 2 * BATCH):
                self._append(log, some, most, expire)
                some, size = [], 0
            some += item
            size += len(item.data)
        if some:
            self._append(log, some, most, expire)

    def _append(self, log: str, some: Sequence[int | bytes], most: int, expire: float) -> None:
        words = (most, max(1, round(expire * 1000)), *some)
        self._storage.ask(log, lambda client, name: client.eval(_APPEND, 1, name, *words))

    def read(self, log: str, after: int, most: int) -> list[Item]:
        check(log)
        words = (after + 1, most, MOST_BYTES, MAX_ITEM)
        found = self._storage.ask(log, lambda client, name: client.eval(_READ, 1, name, *words))
        pairs = zip(found[::2], found[1::2], strict=True)
        return [Item(int(id.partition(b"-")[0]), data) for id, data in pairs]

    def remove(self, log: str, numbers: Sequence[int]) -> None:
        check(log)
        for first in range(0, len(numbers), BATCH):
            ids = [f"{number}-0" for number in numbers[first : first + BATCH]]
            self._storage.ask(log, _removing(ids))


def _removing(ids: list[str]) -> Callable[[Any, str], Any]:
    return lambda client, name: client.xdel(name, *ids)

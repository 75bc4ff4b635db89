"""The storage in Redis: its own sets, hashes and strings, under `[redis] prefix`, for whoever else reads them."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from typing import Any

import redis

from fws.errors import StorageError
from fws.link import Link, reason
from fws.storages.base import MAX_ITEMS, MAX_VALUE, check

logger = logging.getLogger("fws.redis")

# Bytes of one answer of many items, as Redis estimates them.
MAX_ANSWER = 4 * 1024 * 1024
# Members or fields that one command asks about.
BATCH = 1000
# In one step what WATCH would take four round trips for. ARGV: "1" if a value is expected, the value; "1" if one is to
# be set, the value; milliseconds until it is forgotten, or nothing.
_COMPARE_AND_SET = """
local held = redis.call('GET', KEYS[1])
if ARGV[1] == '1' and held ~= ARGV[2] then return 0 end
if ARGV[1] == '0' and held then return 0 end
if ARGV[3] == '0' then redis.call('DEL', KEYS[1])
elseif ARGV[5] == '' then redis.call('SET', KEYS[1], ARGV[4])
else redis.call('SET', KEYS[1], ARGV[4], 'PX', ARGV[5]) end
return 1
"""
# A counter whose time begins with it. ARGV: by, milliseconds.
_INCREMENT = """
local new = redis.call('EXISTS', KEYS[1]) == 0
local number = redis.call('INCRBY', KEYS[1], ARGV[1])
if new then redis.call('PEXPIRE', KEYS[1], ARGV[2]) end
return number
"""


class RedisStorage:
    """Keeps everything in Redis. Commands on one key each, so that any kind of Redis will do.

    Args:
        prefix: what stands before every key.
    """

    waits = True

    def __init__(self, link: Link, prefix: str) -> None:
        self._link = link
        self._prefix = prefix
        self._redis: Any = None
        self._away = False

    def add(self, key: str, *members: str, expire: float | None = None) -> int:
        check(key, *members)
        if not members:
            return 0
        return int(self._change(key, expire, lambda client, name: client.sadd(name, *members)))

    def remove(self, key: str, *members: str) -> int:
        check(key, *members)
        return int(self._ask(key, lambda client, name: client.srem(name, *members))) if members else 0

    def members(self, key: str) -> set[str]:
        check(key)
        self._not_too_much(key, "scard")
        found = self._ask(key, lambda client, name: client.smembers(name))
        return {_text(key, member) for member in found}

    def contains(self, key: str, member: str) -> bool:
        check(key, member)
        return bool(self._ask(key, lambda client, name: client.sismember(name, member)))

    def contained(self, key: str, *members: str) -> set[str]:
        check(key, *members)
        found: set[str] = set()
        for some in _batches(members):
            answers = self._ask(key, _asking("smismember", some))
            found.update(member for member, there in zip(some, answers, strict=True) if there)
        return found

    def size(self, key: str) -> int:
        check(key)
        return int(self._ask(key, lambda client, name: client.scard(name)))

    def get_field(self, key: str, field: str) -> str | None:
        check(key, field)
        if self._ask(key, lambda client, name: client.hstrlen(name, field)) > MAX_VALUE:
            raise StorageError(f"a field of {key!r} is larger than {MAX_VALUE} bytes")
        found = self._ask(key, lambda client, name: client.hget(name, field))
        return None if found is None else _text(key, found)

    def get_fields(self, key: str, *fields: str) -> dict[str, str]:
        check(key, *fields)
        found: dict[str, str] = {}
        for some in _batches(fields):
            answers = self._ask(key, _asking("hmget", some))
            held = ((field, value) for field, value in zip(some, answers, strict=True) if value is not None)
            found.update((field, _text(key, value)) for field, value in held)
        return found

    def set_field(self, key: str, field: str, value: str, expire: float | None = None) -> None:
        check(key, field, value)
        self._change(key, expire, lambda client, name: client.hset(name, field, value))

    def delete_field(self, key: str, *fields: str) -> int:
        check(key, *fields)
        return int(self._ask(key, lambda client, name: client.hdel(name, *fields))) if fields else 0

    def fields(self, key: str) -> dict[str, str]:
        check(key)
        self._not_too_much(key, "hlen")
        found = self._ask(key, lambda client, name: client.hgetall(name))
        return {_text(key, field): _text(key, value) for field, value in found.items()}

    def increment(self, key: str, by: int = 1, expire: float | None = None) -> int:
        check(key)
        if expire is None:
            return int(self._ask(key, lambda client, name: client.incrby(name, by)))
        return int(self._ask(key, lambda client, name: client.eval(_INCREMENT, 1, name, by, _milliseconds(expire))))

    def get(self, key: str) -> str | None:
        check(key)
        # A range is all that is fetched of a value, however large it is.
        found = self._ask(key, lambda client, name: client.getrange(name, 0, MAX_VALUE))
        if len(found) > MAX_VALUE:
            raise StorageError(f"{key!r} is larger than {MAX_VALUE} bytes")
        if not found and not self._ask(key, lambda client, name: client.exists(name)):
            return None
        return _text(key, found)

    def set(self, key: str, value: str, expire: float | None = None) -> None:
        check(key, value)
        lasting = None if expire is None else _milliseconds(expire)
        self._ask(key, lambda client, name: client.set(name, value, px=lasting))

    def compare_and_set(self, key: str, expected: str | None, value: str | None, expire: float | None = None) -> bool:
        check(key, expected or "", value or "")
        arguments = (
            "0" if expected is None else "1",
            expected or "",
            "0" if value is None else "1",
            value or "",
            "" if expire is None else _milliseconds(expire),
        )
        return bool(self._ask(key, lambda client, name: client.eval(_COMPARE_AND_SET, 1, name, *arguments)))

    def delete(self, key: str) -> bool:
        check(key)
        return bool(self._ask(key, lambda client, name: client.delete(name)))

    def _change(self, key: str, expire: float | None, command: Callable[[Any, str], Any]) -> Any:
        """A change, and in the same transaction the key's new expiry."""
        if expire is None:
            return self._ask(key, command)

        def both(client: Any, name: str) -> Any:
            with client.pipeline(transaction=True) as pipeline:
                command(pipeline, name)
                pipeline.pexpire(name, _milliseconds(expire))
                return pipeline.execute()[0]

        return self._ask(key, both)

    def _not_too_much(self, key: str, count: str) -> None:
        """Ask for the size before an answer of any size is fetched."""
        if self._ask(key, lambda client, name: getattr(client, count)(name)) > MAX_ITEMS:
            raise StorageError(f"{key!r} has more than {MAX_ITEMS} items")
        if (self._ask(key, lambda client, name: client.memory_usage(name, samples=0)) or 0) > MAX_ANSWER:
            raise StorageError(f"{key!r} is larger than {MAX_ANSWER} bytes")

    def _ask(self, key: str, command: Callable[[Any, str], Any]) -> Any:
        try:
            if self._redis is None:
                self._redis = self._link.client()
            answer = command(self._redis, self._prefix + key)
        except redis.ResponseError as error:
            if str(error).startswith("WRONGTYPE"):
                raise StorageError(f"{key!r} holds another kind of value") from None
            raise self._failed(error) from None
        except (redis.RedisError, OSError) as error:
            raise self._failed(error) from None
        if self._away:
            self._away = False
            logger.warning("the storage at %s answers again", self._link)
        return answer

    def _failed(self, error: Exception) -> StorageError:
        """One line when it begins to fail; each call's own failure is counted where it is caught."""
        why = reason(error)
        if not self._away:
            self._away = True
            logger.warning("the storage at %s fails: %s", self._link, why)
        return StorageError(f"the storage cannot be asked: {why}", told=True)


def _asking(command: str, items: list[str]) -> Callable[[Any, str], Any]:
    return lambda client, name: getattr(client, command)(name, items)


def _batches(items: tuple[str, ...]) -> Iterator[list[str]]:
    """In commands of a size that holds up nobody in Redis."""
    for start in range(0, len(items), BATCH):
        yield list(items[start : start + BATCH])


def _milliseconds(seconds: float) -> int:
    return max(1, round(seconds * 1000))


def _text(key: str, data: bytes) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError:
        raise StorageError(f"{key!r} holds bytes that are no text") from None

"""The storage in Redis: sets, hashes and strings under `[redis] prefix`, which other applications can use too."""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Callable, Iterator, Sequence
from threading import Lock
from typing import Any

import gevent
import redis
from gevent.lock import BoundedSemaphore
from redis.exceptions import RedisClusterException

from fws.base.errors import StorageError
from fws.pipeline.commands import Command
from fws.pipeline.storage import MAX_ANSWER, MAX_ENTRIES, MAX_ITEMS, MAX_VALUE, Taken, check, check_bucket
from fws.redis.client import CONNECTIONS, FREE, client_of
from fws.redis.connector import Connector, reason

logger = logging.getLogger("fws.redis")

# The members or fields that one command asks about.
BATCH = 1000
# Seconds for one method, after the `FREE` seconds that it may wait for its turn. The limits of redis-py hold for one
# connection and one reply. In a Cluster it asks one node after the other, and callers wait for one another meanwhile.
LIMIT = 3.0
# After this many seconds without a failure, the log says that the storage answers again. If one node of a Cluster is
# away or Redis refuses writes, some keys fail and others do not. That must not be a change of state for each message.
SETTLED = 5.0

# Does in one step what takes four round trips with WATCH. The length is compared first, because reading 100 MB of
# another application would block Redis for a second. ARGV: the expected value; "1" to set a value; the value;
# milliseconds until it expires, or empty.
_COMPARE_AND_SET = """
if redis.call('STRLEN', KEYS[1]) ~= #ARGV[1] then return 0 end
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
if ARGV[2] == '0' then redis.call('DEL', KEYS[1])
elseif ARGV[4] == '' then redis.call('SET', KEYS[1], ARGV[3])
else redis.call('SET', KEYS[1], ARGV[3], 'PX', ARGV[4]) end
return 1
"""
# A change with a new expiry for the whole key. If the key is another application's and of another kind, MULTI would set
# its expiry nevertheless, so that it would be deleted. ARGV: command, milliseconds, the arguments of the command.
_CHANGE = """
local number = 0
for first = 3, #ARGV, 1000 do
  local last = math.min(first + 999, #ARGV)
  number = number + redis.call(ARGV[1], KEYS[1], unpack(ARGV, first, last))
end
redis.call('PEXPIRE', KEYS[1], ARGV[2])
return number
"""
# A counter whose expiry counts from its creation. ARGV: the number to add, milliseconds.
_INCREMENT = """
local new = redis.call('EXISTS', KEYS[1]) == 0
local number = redis.call('INCRBY', KEYS[1], ARGV[1])
if new then redis.call('PEXPIRE', KEYS[1], ARGV[2]) end
return number
"""
# An empty range means an empty value or no key. Two commands would not do, because the key could change in between.
# ARGV: the most bytes.
_GET = """
local value = redis.call('GETRANGE', KEYS[1], 0, ARGV[1])
if value == '' and redis.call('EXISTS', KEYS[1]) == 0 then return false end
return value
"""
# A bucket is the time at which it will be full again, in microseconds of Redis's clock. If that clock is set back, or
# the number is another application's, a bucket lacks no more than all of its tokens. Sums of fractions are not exact,
# which the small number allows for. ARGV: the tokens that are asked for, microseconds per token, the most tokens.
_TAKE = """
local time = redis.call('TIME')
local now, step, burst = time[1] * 1000000 + time[2], tonumber(ARGV[2]), tonumber(ARGV[3])
local held = redis.call('GETRANGE', KEYS[1], 0, 31)
local full_at = tonumber(held)
if not full_at and held ~= '' then return redis.error_reply('ERR it holds no bucket') end
if not full_at or not (full_at > now) then full_at = now end
full_at = math.min(full_at, now + burst * step)
local tokens = math.min(tonumber(ARGV[1]), math.floor(burst - (full_at - now) / step + 0.000001))
if tokens > 0 then
  full_at = full_at + tokens * step
  redis.call('SET', KEYS[1], string.format('%.17g', full_at), 'PX', math.ceil((full_at - now) / 1000))
end
return {math.max(tokens, 0), math.max(math.ceil(full_at + (1 - burst) * step - now), 0)}
"""
# A command of another application's, with what must happen in the same step. ARGV: command; milliseconds until the key
# expires, or empty; the first and last entry that a list keeps, or empty; the arguments of the command.
_COMMAND = """
local result = redis.call(ARGV[1], KEYS[1], unpack(ARGV, 5))
if ARGV[3] ~= '' then redis.call('LTRIM', KEYS[1], ARGV[3], ARGV[4]) end
if ARGV[2] ~= '' then redis.call('PEXPIRE', KEYS[1], ARGV[2]) end
return result
"""


class RedisStorage:
    """Keeps everything in Redis. Each command uses one key, so that it works with every kind of Redis.

    Args:
        prefix: goes before every key.
        clock: monotonic seconds, to distinguish a change of state from a single failure.
    """

    waits = True

    def __init__(self, connector: Connector, prefix: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._connector = connector
        self._prefix = prefix
        self._clock = clock
        self._redis: Any = None
        self._making = Lock()
        # redis-py has pools that block, that fail at once, or that have no limit. The semaphore of `threading` breaks
        # if a greenlet that waits for it is killed.
        self._turns = BoundedSemaphore(CONNECTIONS)
        self._away = False
        self._failed_at = 0.0

    def add(self, key: str, *members: str, expire: float | None = None) -> int:
        check(key, *members, expire=expire)
        if not members:
            return 0
        if expire is not None:
            return int(self._change("SADD", key, expire, *members))
        return int(self._ask(key, lambda client, name: client.sadd(name, *members)))

    def remove(self, key: str, *members: str) -> int:
        check(key, *members)
        return int(self._ask(key, lambda client, name: client.srem(name, *members))) if members else 0

    def members(self, key: str) -> set[str]:
        check(key)

        def ask(client: Any, name: str) -> Any:
            _check_size(key, client.scard(name), client, name)
            return client.smembers(name)

        return {_text(key, member) for member in self._ask(key, ask)}

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

        def ask(client: Any, name: str) -> Any:
            if client.hstrlen(name, field) > MAX_VALUE:
                raise StorageError(f"a field of {key!r} is larger than {MAX_VALUE} bytes")
            return client.hget(name, field)

        found = self._ask(key, ask)
        return None if found is None else _text(key, found)

    def get_fields(self, key: str, *fields: str) -> dict[str, str]:
        check(key, *fields)
        found: dict[str, str] = {}
        for some in _batches(fields):
            answers = self._ask(key, _asking_for_fields(key, some))
            held = ((field, value) for field, value in zip(some, answers, strict=True) if value is not None)
            found.update((field, _text(key, value)) for field, value in held)
        return found

    def set_field(self, key: str, field: str, value: str, expire: float | None = None) -> None:
        check(key, field, value, expire=expire)
        if expire is not None:
            self._change("HSET", key, expire, field, value)
        else:
            self._ask(key, lambda client, name: client.hset(name, field, value))

    def delete_field(self, key: str, *fields: str) -> int:
        check(key, *fields)
        return int(self._ask(key, lambda client, name: client.hdel(name, *fields))) if fields else 0

    def fields(self, key: str) -> dict[str, str]:
        check(key)

        def ask(client: Any, name: str) -> Any:
            _check_size(key, client.hlen(name), client, name)
            return client.hgetall(name)

        return {_text(key, field): _text(key, value) for field, value in self._ask(key, ask).items()}

    def increment(self, key: str, by: int = 1, expire: float | None = None) -> int:
        check(key, expire=expire)
        if expire is None:
            return int(self._ask(key, lambda client, name: client.incrby(name, by)))
        return int(self._ask(key, lambda client, name: client.eval(_INCREMENT, 1, name, by, _milliseconds(expire))))

    def get(self, key: str) -> str | None:
        check(key)

        def ask(client: Any, name: str) -> Any:
            # Only a range is fetched, because the value may be of any size.
            return client.getrange(name, 0, MAX_VALUE) or client.eval(_GET, 1, name, MAX_VALUE)

        found = self._ask(key, ask)
        return None if found is None else _text(key, found)

    def set(self, key: str, value: str, expire: float | None = None) -> None:
        check(key, value, expire=expire)
        lasting = None if expire is None else _milliseconds(expire)
        self._ask(key, lambda client, name: client.set(name, value, px=lasting))

    def compare_and_set(self, key: str, expected: str | None, value: str | None, expire: float | None = None) -> bool:
        check(key, expected or "", value or "", expire=expire)
        if expected is None and value is None:
            return not self._ask(key, lambda client, name: client.exists(name))
        lasting = None if expire is None else _milliseconds(expire)
        if expected is None:
            return bool(self._ask(key, lambda client, name: client.set(name, value, px=lasting, nx=True)))
        arguments = (expected, "0" if value is None else "1", value or "", lasting or "")
        return bool(self._ask(key, lambda client, name: client.eval(_COMPARE_AND_SET, 1, name, *arguments)))

    def take(self, key: str, count: int, rate: float, burst: int) -> Taken:
        check(key)
        check_bucket(count, rate, burst)
        words = (count, 1e6 / rate, burst)
        tokens, wait = self._ask(key, lambda client, name: client.eval(_TAKE, 1, name, *words))
        return Taken(int(tokens), int(wait) / 1e6)

    def command(
        self,
        command: Command,
        key: str,
        arguments: Sequence[str | bytes],
        limit: int | None = None,
        expire: float | None = None,
    ) -> int | float | str | None:
        check(key, *arguments, expire=expire)
        most = limit or MAX_ENTRIES
        kept = {"LPUSH": (0, most - 1), "RPUSH": (-most, -1)}.get(command.name, ("", ""))
        options = ("MAXLEN", "~", most, "*") if command.name == "XADD" else ()
        lasting = "" if expire is None else _milliseconds(expire)
        words = (command.name, lasting, *kept, *options, *arguments)
        result = self._ask(key, lambda client, name: client.eval(_COMMAND, 1, name, *words), prefix="")
        if command.gives == "nothing":
            return None
        if isinstance(result, int):
            return result
        text = _text(key, result)
        if command.gives == "text":
            return text
        number = float(text)
        return int(number) if number.is_integer() else number

    def delete(self, key: str) -> bool:
        check(key)
        return bool(self._ask(key, lambda client, name: client.delete(name)))

    def ask(self, key: str, commands: Callable[[Any, str], Any]) -> Any:
        """For what else is kept in Redis: run commands on a key, with the same limits.

        Args:
            commands: called with redis-py's client and the key with its prefix.

        Raises:
            StorageError: as in all methods.
        """
        return self._ask(key, commands)

    def _change(self, command: str, key: str, expire: float, *arguments: str) -> Any:
        """Make a change, and set the new expiry of the key in the same step."""
        words = (command, _milliseconds(expire), *arguments)
        return self._ask(key, lambda client, name: client.eval(_CHANGE, 1, name, *words))

    def _ask(self, key: str, commands: Callable[[Any, str], Any], prefix: str | None = None) -> Any:
        """Run commands on a key. Raises StorageError at the latest after `FREE` plus `LIMIT` seconds.

        Args:
            prefix: goes before the key; None for the storage's own.
        """
        if not self._turns.acquire(timeout=FREE):
            raise self._failed("too many wait for it")
        limit = gevent.Timeout(LIMIT)
        try:
            with limit:
                answer = commands(self._client(), (self._prefix if prefix is None else prefix) + key)
        except gevent.Timeout as timeout:
            if timeout is not limit:
                raise
            raise self._failed("it does not answer") from None
        except redis.ResponseError as error:
            if (what := _about_the_data(error)) is not None:
                raise StorageError(f"{key!r} {what}") from None
            raise self._failed(reason(error)) from None
        except RedisClusterException:
            raise self._failed("none of its nodes can be reached") from None
        except (redis.RedisError, OSError) as error:
            raise self._failed(reason(error)) from None
        finally:
            self._turns.release()
        if self._away and self._clock() - self._failed_at >= SETTLED:
            self._away = False
            logger.warning("the storage at %s answers again", self._connector)
        return answer

    def _client(self) -> Any:
        with self._making:
            if self._redis is None:
                self._redis = client_of(self._connector)
            return self._redis

    def _failed(self, why: str) -> StorageError:
        """Log that the storage begins to fail. The failures of single calls are counted where they are caught."""
        self._failed_at = self._clock()
        if not self._away:
            self._away = True
            logger.warning("the storage at %s fails: %s", self._connector, why)
        return StorageError(f"the storage cannot be asked: {why}", logged=True)


def _asking(command: str, items: list[str]) -> Callable[[Any, str], Any]:
    return lambda client, name: getattr(client, command)(name, items)


def _asking_for_fields(key: str, fields: list[str]) -> Callable[[Any, str], Any]:
    """Values of fields. Their sizes are asked for first, because another application may have written them."""

    def ask(client: Any, name: str) -> Any:
        with client.pipeline(transaction=False) as pipeline:
            for field in fields:
                pipeline.hstrlen(name, field)
            sizes = pipeline.execute()
        if max(sizes) > MAX_VALUE or sum(sizes) > MAX_ANSWER:
            raise StorageError(f"fields of {key!r} are larger than {MAX_VALUE} bytes, or {MAX_ANSWER} together")
        return client.hmget(name, fields)

    return ask


def _batches(items: tuple[str, ...]) -> Iterator[list[str]]:
    """Groups for commands that are small enough not to block Redis."""
    for start in range(0, len(items), BATCH):
        yield list(items[start : start + BATCH])


_OF_SCRIPT = re.compile(
    r" script: [0-9a-f]{40}, on .*|^(ERR )?Error running script \(call to \w+\): @\w+:[0-9]+: ", re.S
)


def _about_the_data(error: redis.ResponseError) -> str | None:
    """What an error of Redis says about the key; None if it concerns Redis as a whole and not this command."""
    text = str(error)
    if "WRONGTYPE" in text:
        return "holds another kind of value"
    # Errors about the state of Redis have a class of their own or a code (`MISCONF …`). redis-py removes the code
    # `ERR`.
    if type(error) is not redis.ResponseError or text.partition(" ")[0].isupper():
        return None
    # A script's error ends with the script, or begins with it in Redis 6.
    plain = _OF_SCRIPT.sub("", text).removeprefix("ERR ")
    return f"cannot be changed like this: {plain[:200]}"


def _check_size(key: str, items: int, client: Any, name: str) -> None:
    """Raise StorageError if a whole set or map would be too large. It is not fetched then."""
    if items > MAX_ITEMS:
        raise StorageError(f"{key!r} has more than {MAX_ITEMS} items")
    if items and (client.memory_usage(name, samples=0) or 0) > MAX_ANSWER:
        raise StorageError(f"{key!r} is larger than {MAX_ANSWER} bytes")


def _milliseconds(seconds: float) -> int:
    return max(1, round(seconds * 1000))


def _text(key: str, data: bytes) -> str:
    if len(data) > MAX_VALUE:
        raise StorageError(f"{key!r} holds more than {MAX_VALUE} bytes in one value")
    try:
        return data.decode()
    except UnicodeDecodeError:
        raise StorageError(f"{key!r} holds bytes that are not text") from None

"""`redis`: give Redis a command, for other applications."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Annotated, Any
from weakref import WeakKeyDictionary

from msgspec import Meta

from fws import DROP, Client, Filter, Help, Publication, Reject
from fws.base.errors import MessageFillError, StorageError
from fws.base.novelty import Novelty
from fws.filters._stored import Lasting, text_of
from fws.pipeline.commands import Command
from fws.pipeline.placeholder import Template
from fws.pipeline.services import Services

logger = logging.getLogger(__name__)

# What was logged lately, for all filters of a process: one with placeholders has an instance for each of their values.
_NEWS: WeakKeyDictionary[Services, Novelty] = WeakKeyDictionary()


class Redis(Filter):
    """Give Redis one command, so that other applications find data as they expect them.

    On `connect`, `message`, `publication`, `disconnect` and `tick`. The commands are DEL, EXPIRE, HDEL, HINCRBY, HSET,
    INCR, INCRBY, LPUSH, RPUSH, SADD, SET, SREM, XADD, ZADD, ZINCRBY and ZREM. If the last value or member is left out,
    it is the message that flows: text as it is, anything else as JSON. The message flows on.

    The key is used as it is written, without the `prefix` of [redis]. A key with placeholders must begin with a name
    and a colon of your own, so that no client can choose another key. A value that a placeholder fills in has at most
    200 bytes: with a longer one the message is dropped and counted, so leave the last value out where it may be long. A
    list or stream keeps its newest `limit` entries, so that nothing grows without end; sets, maps and sorted sets need
    an `expire` if clients choose what is in them.

    On `publication`, only the node on which something was published gives the command, so that it is given once. What
    other applications publish gives none.

    A message is dropped if a field that a placeholder names is missing, or not a number where the command needs one. If
    the key is longer than 512 bytes or the value larger than 1 MiB, the message is dropped. It is also dropped if the
    key holds another kind of value, or a number would overflow. `messages_unfilled` counts that, and the log has it
    once a minute at most. If Redis cannot be reached, the message is dropped, and `storage_faults` counts it. `connect`
    refuses with 403, 400 or 503 then. `fws test` and `fws try` have no Redis, and give no command.

    Example:
        message = ["json", "redis HINCRBY scores {message.player} {message.points}", "redis LPUSH jobs limit=1000"]
        disconnect = ["redis SREM online {identity.user}"]

        [redis]
        url = "redis://localhost"
    """

    needs_redis = True

    command: Annotated[Command, Help("The command.")]
    key: Annotated[str, Help("The key, without the prefix of [redis].")]
    arguments: Annotated[list[str], Help("What the command takes after the key.")] = []
    limit: Annotated[
        Annotated[int, Meta(ge=1)] | None, Help("The most entries of the list or stream; the default is 10,000.")
    ] = None
    expire: Annotated[Lasting | None, Help("Time from the command until the whole key expires.")] = None
    into: Annotated[str, Help("Message field for the command's result.")] = ""

    @classmethod
    def check_event(cls, event: str, options: Mapping[str, Any]) -> None:
        command, arguments = options["command"], options.get("arguments", ())
        command.check(arguments)
        if command.lacks_value(arguments) and event in ("connect", "disconnect"):
            raise ValueError(f"nothing flows on {event}: write {command.usage}")
        if options.get("limit") is not None and not command.bounded:
            raise ValueError("limit is for LPUSH, RPUSH and XADD")
        if options.get("expire") is not None and not command.keeps:
            raise ValueError(f"{command} keeps nothing that could expire")
        if options.get("into") and (event not in ("message", "tick") or command.gives == "nothing"):
            raise ValueError("into is for message and tick, and for commands with a result")
        key = options["key"]
        if isinstance(key, Template) and ":" not in key.head:
            raise ValueError(
                f"a client could choose any key: begin {key} with a name and a colon of your own, as in scores:{key}"
            )

    def connect(self, client: Client) -> None:
        if self._give(None) is DROP:
            raise Reject(400, "A value is too long.")

    def message(self, client: Client, message: Any) -> Any:
        return self._with(message, self._give(message))

    def tick(self, message: Any) -> Any:
        return self._with(message, self._give(message))

    def publication(self, publication: Publication) -> Any:
        return DROP if publication.origin == "here" and self._give(publication.message) is DROP else None

    def disconnect(self, client: Client) -> None:
        self._give(None)

    def explain(self, client: Any, message: Any, channel: str | None) -> str:
        return " ".join([self.command.name, self.key, *self.arguments])

    def _with(self, message: Any, result: Any) -> Any:
        """The message that flows on."""
        if result is DROP:
            return DROP
        return {**message, self.into: result} if self.into and isinstance(message, dict) else None

    def _give(self, message: Any) -> Any:
        """The command's result; `DROP` if the key or the value is too long.

        Raises:
            StorageError: Redis cannot be asked.
            MessageFillError: what is at the key, or what a placeholder has filled in, does not suit the command.
        """
        arguments: list[str | bytes] = list(self.arguments)
        try:
            self.command.check(arguments)
        except ValueError as error:
            # The file was checked, so that a placeholder has filled this in.
            raise MessageFillError(str(error)) from None
        if self.command.lacks_value(arguments):
            arguments.append(message if isinstance(message, bytes) else text_of(message))
        try:
            return self.storage.command(self.command, self.key, arguments, self.limit, self.expire)
        except ValueError:
            return DROP
        except StorageError as error:
            if error.logged:
                raise
            # It concerns this key alone. A client may cause it as often as it likes, and may choose the key.
            news = _NEWS.setdefault(self.services, Novelty(self.services.clock))
            if news.is_new(self.command.name):
                logger.warning("redis %s: %s; more of these are not logged for a minute", self.command.name, error)
            raise MessageFillError(str(error)) from None

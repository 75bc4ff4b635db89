"""Runs methods for a key: checks requests and permissions, calls the commands, and makes replies of what they give."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import msgspec

from fws.api.commands import Commands
from fws.api.keys import Key
from fws.api.method import Method
from fws.api.methods import BY_NAME, METHODS, channels_of
from fws.api.operator import Operator
from fws.api.requests import MAX_COMMANDS, AboutKey, Batch, KeyResult
from fws.base.command_error import BAD_REQUEST, INTERNAL, NOT_AVAILABLE, NOT_FOUND, CommandError
from fws.base.decoding import decode
from fws.base.errors import Refusal, StorageError
from fws.base.metrics import Metrics
from fws.base.novelty import Novelty
from fws.base.problem import did_you_mean

logger = logging.getLogger("fws.api")

Reply = dict[str, Any]
# Calls a function for each item at the same time. Returns the results in the order of the items.
Each = Callable[[Callable[[Any], Any], Iterable[Any]], Iterable[Any]]


class Call:
    """One method with its request, which a key may make."""

    __slots__ = ("method", "request")

    def __init__(self, method: Method, request: Any) -> None:
        self.method = method
        self.request = request


class Stream:
    """Results without an end, as server-sent events (WHATWG HTML 9.2), until it is closed.

    The first one is awaited at once, so that a request that cannot be served has an error for its answer.

    Attributes:
        is_permitted: asked before each result is shown. It ends when that is not so any more.

    Raises:
        CommandError: it cannot be served.
    """

    def __init__(self, results: Iterator[Any]) -> None:
        self.is_permitted: Callable[[], bool] = lambda: True
        self._results = results
        self._first: list[Any] = [next(results)]

    def __iter__(self) -> Stream:
        return self

    def __next__(self) -> bytes:
        try:
            result = self._first.pop() if self._first else next(self._results)
            if not self.is_permitted():
                self.close()
                raise CommandError(NOT_AVAILABLE, "the key does not permit this any more")
        except CommandError as error:
            text = msgspec.json.encode({"code": error.code, "message": error.message})
            self._results = iter(())
            return b"event: error\ndata: " + text + b"\n\n"
        if not result:
            return b": nothing has passed\n\n"  # a comment, so that whoever has gone is noticed
        return b"data: " + msgspec.json.encode(result) + b"\n\n"

    def close(self) -> None:
        """End it."""
        close = getattr(self._results, "close", None)
        if close is not None:
            close()


class Runner:
    """Runs methods.

    Args:
        commands, operator: what carries them out.
        metrics: counts calls and errors.
        clock: monotonic seconds.
        report: called with what failed and its exception, if that is not the caller's fault.
        each: runs the commands of a parallel batch.
    """

    def __init__(
        self,
        commands: Commands,
        operator: Operator,
        metrics: Metrics,
        clock: Callable[[], float],
        report: Callable[[str, BaseException], object],
        each: Each = map,
    ) -> None:
        self._does = {"commands": commands, "operator": operator}
        self._metrics = metrics
        self._report = report
        self._each = each
        self._novelty = Novelty(clock)

    def call(self, key: Key, name: str, body: bytes) -> Reply | Stream:
        """Run one method.

        Args:
            body: its request, as JSON. An empty one counts as `{}`.

        Returns:
            An object with `result` or `error`; for a batch with `replies`; for a method that streams its results.

        Raises:
            Refusal: 403, the key does not permit this.
            ValueError: the body is not JSON, or JSON of an unreasonable size. The text says so.
        """
        value = decode(body) if body.strip() else {}
        try:
            call = self._prepared(key, name, value)
            if isinstance(call.request, Batch):
                return {"replies": self._batch(key, call.request)}
            reply = self._reply(key, call)
            return Stream(reply["result"]) if call.method.streams and "result" in reply else reply
        except CommandError as error:
            return {"error": self._failed(key, name, error)}

    def lines(self, key: Key, body: bytes) -> list[Reply]:
        """Run the commands of Centrifugo's older form: one object with `method` and `params` in each line.

        Raises as `call`. Nothing is done unless the key permits all of them.
        """
        values = [decode(line) for line in body.splitlines() if line.strip()]
        if not 1 <= len(values) <= MAX_COMMANDS:
            raise ValueError(f"expected 1 to {MAX_COMMANDS} commands, one in each line")
        calls = []
        for value in values:
            if not isinstance(value, dict) or not isinstance(value.get("method"), str):
                raise ValueError('expected a command in each line, such as {"method":"info","params":{}}')
            calls.append(self._tried(key, value["method"], value.get("params") or {}))
        return [call if isinstance(call, dict) else self._reply(key, call) for call in calls]

    def _prepared(self, key: Key, name: str, value: Any) -> Call:
        """Find a method and read its request. Raises CommandError, and Refusal if the key does not permit it."""
        method = BY_NAME.get(name)
        if method is None:
            hint = did_you_mean(name, BY_NAME)
            raise CommandError(NOT_FOUND, f"there is no method {name[:50]!r}" + (f": {hint}" if hint else ""))
        if not key.permits(method):
            raise Refusal(403, f"The key {key.name} does not permit {name}.")
        request = method.parse(value)
        if not key.admin and method.permission == "publish":
            for channel in channels_of(request):
                if not key.may_publish_to(channel):
                    raise Refusal(403, f"The key {key.name} may not publish to {channel!r}.")
        return Call(method, request)

    def _tried(self, key: Key, name: str, value: Any) -> Call | Reply:
        """A call, or the reply if the request is wrong. A batch cannot be a part of something else."""
        try:
            if name == "batch":
                raise CommandError(BAD_REQUEST, "a batch cannot be in another one")
            call = self._prepared(key, name, value)
            if call.method.streams:
                raise CommandError(BAD_REQUEST, f"{name} has no end, and cannot be one of several commands")
            return call
        except CommandError as error:
            return {"error": self._failed(key, name, error)}

    def _batch(self, key: Key, batch: Batch) -> list[Reply]:
        def tried(command: Mapping[str, Any]) -> Call | Reply:
            if len(command) != 1:
                error = CommandError(BAD_REQUEST, 'a command has one method, such as {"info":{}}')
                return {"error": self._failed(key, "batch", error)}
            ((name, value),) = command.items()
            return self._tried(key, name, value)

        def run(call: Call | Reply) -> Reply:
            if isinstance(call, dict):
                return call
            reply = self._reply(key, call)
            return {call.method.name: reply["result"]} if "result" in reply else reply

        calls = [tried(command) for command in batch.commands]  # all, before the first one runs
        return list((self._each if batch.parallel else map)(run, calls))

    def _reply(self, key: Key, call: Call) -> Reply:
        method, name = call.method, call.method.name
        self._metrics.count("api_calls")
        if isinstance(call.request, AboutKey):
            return {"result": KeyResult(key.name, [one.name for one in METHODS if key.permits(one)])}
        assert method.run is not None
        if method.logged:
            logger.info("%s with the key %s%s", name, key.name, _about(call.request))
        try:
            return {"result": method.run(self._does[method.by], call.request)}
        except CommandError as error:
            return {"error": self._failed(key, name, error)}
        except StorageError as error:
            self._report(f"api {name}", error)
            return {"error": self._failed(key, name, CommandError(INTERNAL, f"internal server error: {error}"))}
        except Exception as error:  # a filter of the user may raise anything while a publication is made
            self._report(f"api {name}", error)
            return {"error": self._failed(key, name, CommandError(INTERNAL))}

    def _failed(self, key: Key, name: str, error: CommandError) -> dict[str, Any]:
        """Count and log an error. Returns it as the caller gets it."""
        self._metrics.count("api_errors", label=error.code)
        new = self._novelty.is_new(f"{name} {error}")
        level = logging.INFO if new else logging.DEBUG
        logger.log(level, "%s with the key %s: %d %s", name[:50], key.name, error.code, error.message)
        return {"code": error.code, "message": error.message}


def _about(request: Any) -> str:
    """Whom and what a request concerns, for the log: `: user ann`. What it leaves out is not shown."""
    given = [(name, getattr(request, name)) for name in request.__struct_fields__]
    shown = ", ".join(f"{name} {value}" for name, value in given if value and isinstance(value, str | int | float))
    return f": {shown}" if shown else ""

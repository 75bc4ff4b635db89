"""What operators see and do through the API: one node with all its workers, whichever of them is asked."""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import gevent
import msgspec
from gevent.queue import Queue

from fws.auth.bans import Banned, Bans, field_of
from fws.base.command_error import BAD_REQUEST, INTERNAL, NOT_AVAILABLE, CommandError
from fws.base.errors import StorageError
from fws.base.fault_book import Fault, merged
from fws.live import table
from fws.live.control import NODE, ControlError, Reply, asking
from fws.live.picture import picture
from fws.pipeline.pipeline import Step

if TYPE_CHECKING:
    from fws.server.node import Node

# Seconds that an answer may take: one of a tap, which has a sign of life every 5 s, and one of anything else. A reload
# runs the tests of the file.
SIGN = 20.0
ANSWER = 150.0
# Taps at a time, and lines of one that wait for a slow reader. The tap skips further ones.
MAX_TAPS = 10
MAX_WAITING = 100


class Answers(Protocol):
    """What answers the requests of the control socket, for the whole node."""

    def answer(self, request: Mapping[str, Any], reply: Reply) -> None:
        """Answer one request. Raises ControlError."""


class Supervised:
    """The whole node, as one of its workers asks it: through the supervisor.

    Args:
        control: the folder with the control sockets.
    """

    def __init__(self, control: str) -> None:
        self._socket = Path(control) / NODE

    def answer(self, request: Mapping[str, Any], reply: Reply) -> None:
        with asking(self._socket, request, SIGN if request.get("do") == "tap" else ANSWER) as answers:
            for answer in answers:
                reply(answer)


class Nobody:
    """Stands for the whole node before anything answers for it."""

    def answer(self, request: Mapping[str, Any], reply: Reply) -> None:
        raise ControlError("nothing answers for this server")


class Operator:
    """Implements `fws.api.operator.Operator`.

    Args:
        node: the process that is asked.

    Attributes:
        answers: what answers for the whole node. Whoever starts the server sets it.
    """

    def __init__(self, node: Node) -> None:
        self._node = node
        self.answers: Answers = Nobody()
        self._taps: set[Queue] = set()  # what arrives for each

    def _ask(self, do: str, **more: Any) -> list[dict[str, Any]]:
        """All answers to a request. Raises CommandError."""
        found: list[dict[str, Any]] = []
        try:
            self.answers.answer({"do": do, **more}, found.append)
        except ControlError as error:
            raise CommandError(INTERNAL, str(error)) from None
        return found

    def _one(self, do: str, **more: Any) -> dict[str, Any]:
        for answer in self._ask(do, **more):
            return answer
        raise CommandError(INTERNAL, "no worker serves")

    # Views.

    def stages(self, seconds: float) -> dict[str, Any]:
        statistics = table.merged(self._ask("statistics", seconds=seconds, times=1))
        rows = statistics.pop("stages")
        return {**statistics, "pipelines": picture(self._node.generation, rows, self._place)}

    def _place(self, step: Step) -> str:
        return self._node.generation.config.source.place(step.path).short

    def clients(self, most: int, **wanted: str) -> tuple[int, list[dict[str, Any]]]:
        answers = self._ask("find", most=most, **wanted)
        every = [client for answer in answers for client in answer["clients"]]
        first = sorted(every, key=lambda client: str(client["client"]))[:most]
        return sum(int(answer["total"]) for answer in answers), first

    def generation(self) -> dict[str, Any]:
        return self._one("generation")

    def reload(self, *, dry_run: bool, test: bool) -> dict[str, Any]:
        return self._one("reload", dry_run=dry_run, test=test)

    def faults(self) -> list[dict[str, Any]]:
        answers = self._ask("faults")
        places = {one["cause"]: one["place"] for answer in answers for one in answer["faults"]}
        books = [msgspec.convert(answer["faults"], list[Fault]) for answer in answers]
        return [{**msgspec.to_builtins(fault), "place": places[fault.cause]} for fault in merged(books)]

    def nodes(self) -> dict[str, Any]:
        redis = self._node.generation.config.redis.url
        workers = sorted(self._ask("process"), key=lambda one: int(one["worker"]))
        nodes = self._node.commands.info()
        return {"nodes": nodes, "workers": workers, "redis": (self._node.broker.health() or "ok") if redis else "none"}

    def tap(self, request: Mapping[str, Any]) -> Generator[dict[str, Any]]:
        if len(self._taps) >= MAX_TAPS:
            raise CommandError(NOT_AVAILABLE, f"there are {MAX_TAPS} taps already")
        arriving: Queue = Queue(MAX_WAITING)

        def run() -> None:
            try:
                self.answers.answer({"do": "tap", "pattern": request["stage"], **request}, arriving.put)
                arriving.put(CommandError(INTERNAL, "the tap has ended"))
            except ControlError as error:
                arriving.put(CommandError(INTERNAL, str(error)))

        self._taps.add(arriving)
        running = gevent.spawn(run)
        try:
            while True:
                answer = arriving.get()
                if isinstance(answer, CommandError):
                    raise answer
                yield answer
        finally:
            self._taps.discard(arriving)
            running.kill(block=False)

    def end_taps(self) -> None:
        """This process serves nobody any more. After a handover it lives on, and a tap would show nothing."""
        for arriving in self._taps:
            # A queue that is full is emptied first.
            gevent.spawn(arriving.put, CommandError(INTERNAL, "the tap has ended"))

    # Bans.

    def _maps(self) -> list[Bans]:
        """The maps of bans that the filters of this generation read. Raises CommandError if there is none."""
        instances: set[Any] = {
            step.instance
            for pipeline in self._node.generation.pipelines()
            for step in pipeline.walk()
            if step.id.event in ("connect", "subscribe")
        }
        keys = {str(one.key) for one in instances if getattr(one, "reads_bans", False)}
        if not keys:
            raise CommandError(NOT_AVAILABLE, 'no pipeline refuses banned clients: add "ban" to connect')
        return [Bans(self._node.storage, key, self._node.context.wall) for key in sorted(keys)]

    def ban(self, kind: str, name: str, seconds: float | None) -> None:
        field = _field(kind, name)
        for bans in self._maps():
            _asked(partial(bans.put, field, seconds))

    def unban(self, kind: str, name: str) -> bool:
        field = _field(kind, name)
        return sum(int(_asked(partial(bans.remove, field))) for bans in self._maps()) > 0

    def bans(self) -> Sequence[Banned]:
        return sorted({ban for bans in self._maps() for ban in _asked(bans.all)})


def _field(kind: str, name: str) -> str:
    try:
        return field_of(kind, name)
    except ValueError as error:
        raise CommandError(BAD_REQUEST, f"name: {error}") from None


def _asked(ask: Callable[[], Any]) -> Any:
    try:
        return ask()
    except StorageError as error:
        raise CommandError(INTERNAL, str(error)) from None

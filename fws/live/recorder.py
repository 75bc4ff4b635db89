"""Records whole events: what came in, which stages it passed, and what was sent and published because of it.

A recording is a file of lines, each a JSON object. `fws replay` runs what came in through another configuration,
records that in the same way, and compares the two.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any

import msgspec
from gevent import getcurrent
from gevent.event import Event as Signal

from fws.base.brief import brief, message_of
from fws.live.observation import Passing
from fws.live.redaction import Redaction
from fws.pipeline.events import BY_NAME
from fws.pipeline.publication import Publication

# Events that wait for a slow reader. More are left out and counted.
MAX_WAITING = 10_000
# The version of the format.
FORMAT = 1
# Headers that say how a client has connected. The others are the browser's, or secret.
HEADERS = ("origin", "user-agent", "sec-websocket-protocol")
# Events that the outside world causes. Everything else follows from them.
CAUSES = ("connect", "message", "publication", "disconnect")


class Recorded(msgspec.Struct, omit_defaults=True):
    """One event.

    Attributes:
        at, number: when it began, as Unix time, and as a number that counts up in one process.
        event: `connect`, `message`, `publication` or `disconnect`; `present` for a client that was there already, and
            `arrived` for a publication from elsewhere.
        client: the id of the client; empty without one.
        target: path and query of the client's request.
        headers: some headers of the request.
        address: of the client.
        identity: who the client is.
        channel: of the publication.
        binary: whether the message is binary, and written in hexadecimal.
        message: what came in.
        stages: the address and the outcome of each stage.
        why: what the stage says at which the event ended.
        sent: what was sent to single clients, each with the client's id.
        published: what was published, each with the channel.
    """

    at: float
    number: int
    event: str
    client: str = ""
    target: str = ""
    headers: dict[str, str] = {}
    address: str = ""
    identity: dict[str, Any] | None = None
    channel: str | None = None
    binary: bool = False
    message: Any = None
    stages: list[tuple[str, str]] = []
    why: str = ""
    sent: list[tuple[str, Any]] = []
    published: list[tuple[str | None, Any]] = []


class Recorder:
    """A view (`fws.live.observation.View`) that puts the calls of filters together to events.

    Args:
        wall: Unix time.
        redaction: masks secrets.
        chosen: whether an event of this client is recorded; None stands for events without a client.
    """

    def __init__(
        self, wall: Callable[[], float], redaction: Redaction | None = None, chosen: Callable[[Any], bool] | None = None
    ) -> None:
        self._wall = wall
        self._redaction = redaction or Redaction()
        self._chosen = chosen or (lambda client: True)
        # The event that each greenlet is handling, and the number of calls that run in it.
        self._open: dict[Any, tuple[Recorded, Any]] = {}
        self._depth: dict[Any, int] = {}
        self._known: set[str] = set()
        self._number = 0
        self._done: deque[Recorded] = deque()
        self._skipped = 0
        self._woken = Signal()

    # As a view.

    def wants(self, passing: Passing) -> Any:
        event = passing.step.id.event
        if event not in CAUSES or not self._chosen(passing.client):
            return None
        me = getcurrent()
        self._depth[me] = self._depth.get(me, 0) + 1
        # Each event has arguments of its own: a message that flows on changes, but not its event.
        subject = passing.client if passing.client is not None else passing.arguments[0]
        known = self._open.get(me)
        if self._depth[me] == 1 and (known is None or not self._continues(known, passing, subject)):
            self._finish(me)
            self._open[me] = (self._begin(event, passing), (event, subject, passing.step.id))
        return me

    @staticmethod
    def _continues(known: tuple[Recorded, Any], passing: Passing, subject: Any) -> bool:
        """Whether a call belongs to the event in progress: the next stage for the same client."""
        recorded, (event, before, first) = known
        ended = bool(recorded.stages) and recorded.stages[-1][1] != "pass"
        same = event == passing.step.id.event and (before is subject or event == "publication")
        return same and not ended and passing.step.id != first

    def _begin(self, event: str, passing: Passing) -> Recorded:
        at, client = self._wall(), passing.client
        if client is not None and event != "connect" and client.id not in self._known:
            self._known.add(client.id)
            self._put(self._about(Recorded(at, self._next(), "present"), client))
        recorded = Recorded(at, self._next(), event)
        if client is not None:
            recorded.client = client.id
            if event == "connect":
                self._known.add(client.id)
                self._about(recorded, client)
        if event == "message":
            self._message(recorded, passing.value)
        elif not BY_NAME[event].of_client:
            self._message(recorded, passing.value)
            recorded.channel = passing.channel
        return recorded

    def _next(self) -> int:
        self._number += 1
        return self._number

    def _about(self, recorded: Recorded, client: Any) -> Recorded:
        """What is known about a client. Its token is not."""
        request = client.request
        recorded.client, recorded.address = client.id, client.address
        recorded.target = self._redaction.target(request.target)
        recorded.headers = {name: value for name, value in request.headers.items() if name in HEADERS}
        recorded.identity = self._redaction.masked(client.identity) if client.identity else None
        return recorded

    def _message(self, recorded: Recorded, value: Any) -> None:
        masked = self._redaction.masked(value)
        recorded.binary = isinstance(masked, bytes)
        recorded.message = masked.hex() if isinstance(masked, bytes) else masked

    def show(self, wanted: Any, passing: Passing, outcome: str, result: Any, error: BaseException | None) -> None:
        known = self._open.get(wanted)
        self._depth[wanted] -= 1
        if known is None:
            return
        recorded, _ = known
        step = passing.step
        if not self._depth[wanted] or outcome != "pass":
            recorded.stages.append((step.id.address, outcome))
        if outcome != "pass" and not recorded.why:
            said = "" if error is None else f"{type(error).__name__}: {message_of(error)}"
            recorded.why = said or step.explain(passing.arguments)
        if recorded.event == "connect" and passing.client.identity:
            recorded.identity = self._redaction.masked(passing.client.identity)

    # As the listener of a hub.

    def told(self, client: Any, message: Any) -> None:
        """A message is sent to a client."""
        known = self._open.get(getcurrent())
        if known is not None and self._depth.get(getcurrent()):
            known[0].sent.append((client.id, self._value(message)))

    def published(self, publication: Publication) -> None:
        """A message is published."""
        known = self._open.get(getcurrent())
        if known is not None and self._depth.get(getcurrent()):
            known[0].published.append((publication.channel, self._value(publication.message)))

    def arrived(self, publication: Publication) -> None:
        """A publication has come from elsewhere."""
        if self._chosen(None):
            recorded = Recorded(self._wall(), self._next(), "arrived", channel=publication.channel)
            self._message(recorded, publication.message)
            self._put(recorded)

    def _value(self, message: Any) -> Any:
        masked = self._redaction.masked(message)
        return f"bytes {masked.hex()}" if isinstance(masked, bytes) else masked

    # For whoever keeps the recording.

    def _finish(self, me: Any) -> None:
        known = self._open.pop(me, None)
        if known is not None:
            self._put(known[0])

    def _put(self, recorded: Recorded) -> None:
        if len(self._done) >= MAX_WAITING:
            self._skipped += 1
        else:
            self._done.append(recorded)
        self._woken.set()

    def take(self, timeout: float = 0.0, *, last: bool = False) -> list[Recorded]:
        """Wait for events and return them, in the order in which they ended. Blocks.

        Args:
            last: whether the events that are still open are returned as well.
        """
        if not last:
            self._woken.wait(timeout)
            self._woken.clear()
        for me in [me for me in self._open if not self._depth.get(me)]:
            self._finish(me)
        for me in [me for me, depth in self._depth.items() if not depth and me not in self._open]:
            del self._depth[me]
        done = list(self._done)
        self._done.clear()
        return done

    @property
    def skipped(self) -> int:
        """The number of events that were left out since the last call."""
        skipped, self._skipped = self._skipped, 0
        return skipped


def shown(recorded: Recorded) -> str:
    """What came in, for a person."""
    if recorded.event in ("message", "publication"):
        return brief(recorded.message, 80)
    return recorded.target

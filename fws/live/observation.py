"""Views of the pipelines of one process, such as taps, which show single events.

The pipelines are observed only while there is a view. A reload replaces them, and the views go on with the new ones.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from fnmatch import fnmatchcase
from typing import Any, Protocol

from gevent.event import Event

from fws.base.brief import brief, message_of
from fws.base.errors import Close, Refusal
from fws.channels.hub import Hub, Listener
from fws.compiler.generation import Generation
from fws.live.redaction import Redaction
from fws.pipeline.events import BY_NAME
from fws.pipeline.observation import outcome_of
from fws.pipeline.outcomes import DROP, Later, Several
from fws.pipeline.pipeline import Step
from fws.pipeline.publication import Publication

# Lines that wait for a slow terminal; further ones are skipped and counted.
MAX_WAITING = 1000
# The most characters of a value in a line.
MAX_VALUE = 300


class Passing:
    """One call of a filter while somebody watches: the step, and what flows in."""

    __slots__ = ("arguments", "client", "step", "value")

    def __init__(self, step: Step, arguments: tuple[Any, ...]) -> None:
        of_client = BY_NAME[step.id.event].of_client
        self.step = step
        self.arguments = arguments
        self.client: Any = arguments[0] if of_client else None
        last = arguments[-1]
        has_value = len(arguments) > of_client
        self.value: Any = (last.message if isinstance(last, Publication) else last) if has_value else None

    @property
    def channel(self) -> str | None:
        last = self.arguments[-1]
        return last.channel if isinstance(last, Publication) else None


class View(Protocol):
    """Gets every call of a filter."""

    def wants(self, passing: Passing) -> Any:
        """Called before the hook. What is returned is given to `show`, unless it is None."""

    def show(self, wanted: Any, passing: Passing, outcome: str, result: Any, error: BaseException | None) -> None:
        """Called after the hook."""


class Observation:
    """The views of one process. Implements `fws.pipeline.observation.Observer`.

    It is also the hub's listener, and tells the views that want it what filters send and publish.

    Args:
        generation: returns the generation in force.
        hub: whose messages are observed.
    """

    def __init__(self, generation: Callable[[], Generation], hub: Hub) -> None:
        self._generation = generation
        self._hub = hub
        self._listeners: tuple[Listener, ...] = ()
        self._views: tuple[View, ...] = ()

    def add(self, view: View) -> None:
        """Begin to tell a view about each event."""
        self._views += (view,)
        self.renew()

    def remove(self, view: View) -> None:
        """Stop telling it. Does nothing if it is not known."""
        self._views = tuple(one for one in self._views if one is not view)
        self.renew()

    def renew(self) -> None:
        """Observe the pipelines in force if there are views. Called after a reload too."""
        for pipeline in self._generation().pipelines():
            pipeline.observe(self if self._views else None)
        self._listeners = tuple(view for view in self._views if isinstance(view, Listener))
        self._hub.listener = self if self._views else None

    def told(self, client: Any, message: Any) -> None:
        for listener in self._listeners:
            listener.told(client, message)

    def published(self, publication: Publication) -> None:
        for listener in self._listeners:
            listener.published(publication)

    def arrived(self, publication: Publication) -> None:
        for listener in self._listeners:
            listener.arrived(publication)

    def enter(self, step: Step, arguments: tuple[Any, ...]) -> Any:
        passing = Passing(step, arguments)
        wanted = [(view, mark) for view in self._views if (mark := view.wants(passing)) is not None]
        return passing, wanted

    def leave(self, mark: Any, result: Any) -> None:
        self._show(mark, "drop" if result is DROP else "pass", result, None)

    def fail(self, mark: Any, error: BaseException) -> None:
        self._show(mark, outcome_of(error), None, error)

    @staticmethod
    def _show(mark: Any, outcome: str, result: Any, error: BaseException | None) -> None:
        passing, wanted = mark
        for view, one in wanted:
            view.show(one, passing, outcome, result, error)


class Tap:
    """Shows what passes through stages, as one dictionary for each call of a filter.

    Args:
        wall: Unix time.
        pattern: of the address of stages, such as `/chat message/*` or `message/json`; empty for all.
        client, user, channel: only events of this client, this user, this channel.
        outcomes: only these outcomes; empty for all.
        rate: the most lines per second; others are counted as skipped.
        redaction: masks secrets.
        place: where a step is in the file.
        whole: whether values are shown in full, to be recorded.
    """

    def __init__(
        self,
        wall: Callable[[], float],
        *,
        pattern: str = "",
        client: str = "",
        user: str = "",
        channel: str = "",
        outcomes: frozenset[str] = frozenset(),
        rate: float = 100.0,
        redaction: Redaction | None = None,
        place: Callable[[Step], str] = lambda step: "",
        whole: bool = False,
    ) -> None:
        self._wall = wall
        self._pattern = pattern
        self._client = client
        self._user = user
        self._channel = channel
        self._outcomes = outcomes
        self._rate = rate
        self._redaction = redaction or Redaction()
        self._place = place
        self._whole = whole
        self._matches: dict[Any, bool] = {}
        self._second = 0
        self._shown = 0
        self._skipped = 0
        self._waiting: deque[dict[str, Any]] = deque()
        self._woken = Event()

    def wants(self, passing: Passing) -> Any:
        step = passing.step
        match = self._matches.get(step.id)
        if match is None:
            match = self._matches[step.id] = is_at(self._pattern, step)
        if not match or not self._concerns(passing):
            return None
        # Hooks may change a value in place, so it is written down before.
        return self._text(passing.value), self._wall()

    def _concerns(self, passing: Passing) -> bool:
        client = passing.client
        if self._client and (client is None or not client.id.startswith(self._client)):
            return False
        if self._user and (client is None or str((client.identity or {}).get("user") or "") != self._user):
            return False
        if not self._channel:
            return True
        channel = passing.channel
        return (
            channel == self._channel if channel is not None else client is not None and self._channel in client.channels
        )

    def show(self, wanted: Any, passing: Passing, outcome: str, result: Any, error: BaseException | None) -> None:
        if self._outcomes and outcome not in self._outcomes:
            return
        value, at = wanted
        if int(at) != self._second:
            self._second, self._shown = int(at), 0
        self._shown += 1
        if self._shown > self._rate or len(self._waiting) >= MAX_WAITING:
            self._skipped += 1
            self._woken.set()
            return
        step = passing.step
        line: dict[str, Any] = {
            "at": at,
            "client": "" if passing.client is None else passing.client.id,
            "path": step.id.path,
            "stage": step.id.way,
            "outcome": outcome,
            "in": value,
            "place": self._place(step),
        }
        if outcome == "pass" and isinstance(result, Later):
            line["why"] = "later"
        elif outcome == "pass" and result is not None:
            flowed = result.items if isinstance(result, Several) else result
            line["out"] = self._text(flowed.message if isinstance(flowed, Publication) else flowed)
        if error is not None:
            line["why"] = _why(error)
        elif outcome != "pass":
            line["why"] = step.explain(passing.arguments)
        if (channel := passing.channel) is not None:
            line["channel"] = channel
        self._waiting.append(line)
        self._woken.set()

    def _text(self, value: Any) -> Any:
        if value is None:
            return None
        masked = self._redaction.masked(value)
        return masked if self._whole and isinstance(masked, str) else brief(masked, MAX_VALUE)

    def take(self, timeout: float) -> list[dict[str, Any]]:
        """Wait for lines and return them; `{"skipped": N}` says how many were left out. Blocks."""
        self._woken.wait(timeout)
        self._woken.clear()
        lines = list(self._waiting)
        self._waiting.clear()
        if self._skipped:
            lines.append({"skipped": self._skipped})
            self._skipped = 0
        return lines


def is_at(pattern: str, step: Step) -> bool:
    """Whether a pattern matches the address of a step, with or without its endpoint."""
    texts = step.id.way, step.id.address
    return not pattern or any(fnmatchcase(text, pattern) or text.startswith(f"{pattern}/") for text in texts)


def _why(error: BaseException) -> str:
    if isinstance(error, Close):
        return f"{error.code} {error.reason}".rstrip()
    if isinstance(error, Refusal):
        return f"{error.status} {error.reason}".rstrip()
    return f"{type(error).__name__}: {message_of(error)}"

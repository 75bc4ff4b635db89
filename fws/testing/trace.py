"""A trace: what each stage did with each event, and which stage has sent or published what."""

from __future__ import annotations

from typing import Any

from gevent import getcurrent

from fws.base.brief import brief
from fws.base.errors import Close, Refusal
from fws.pipeline.events import BY_NAME
from fws.pipeline.observation import outcome_of
from fws.pipeline.outcomes import DROP
from fws.pipeline.pipeline import Step
from fws.pipeline.publication import Publication
from fws.wire.encoding import payload_of


class Passage:
    """One call of a filter.

    Attributes:
        step: the stage.
        client: the id of the client; empty without one.
        outcome: `pass`, or one of `fws.transcripts.language.OUTCOMES`.
        result: what the hook returned; None if it left the value unchanged.
        error: what it raised.
        note: what the filter says about its decision.
        outer: the passage that was running in this greenlet, such as that of a `switch`.
        repeats: whether a passage inside this one had the same outcome, and caused it.
    """

    __slots__ = ("_inner", "_value", "arguments", "client", "error", "note", "outcome", "outer", "result", "step")

    def __init__(self, step: Step, arguments: tuple[Any, ...], outer: Passage | None) -> None:
        self.step = step
        self.arguments = arguments
        self.outer = outer
        of_client = BY_NAME[step.id.event].of_client
        self.client = str(arguments[0].id) if of_client else ""
        value = arguments[-1] if len(arguments) > of_client else None
        self._value = value.message if isinstance(value, Publication) else value
        self.outcome = ""
        self.result: Any = None
        self.error: BaseException | None = None
        self.note = ""
        self._inner = ""

    def end(self, outcome: str, *, explain: bool) -> None:
        """The hook has returned or raised."""
        self.outcome = outcome
        if explain or outcome != "pass":
            self.note = self.step.explain(self.arguments)
        self.arguments = ()
        if self.outer is not None:
            self.outer._inner = outcome

    @property
    def value(self) -> str:
        """What flowed in, as text; empty where nothing flows."""
        return "" if self._value is None else brief(self._value)

    @property
    def repeats(self) -> bool:
        return self._inner == self.outcome != "pass"

    @property
    def stage(self) -> str:
        """Event and stage: `message/guard/rate_limit`."""
        return self.step.id.way

    @property
    def address(self) -> str:
        """The endpoint too: `/chat message/guard/rate_limit`."""
        return self.step.id.address

    def is_at(self, path: str, stage: str) -> bool:
        """Whether this is the stage that a transcript names.

        Args:
            path: the endpoint; empty for any.
            stage: the event and the end of the way to the stage; empty for any.
        """
        event, *way = stage.split("/") if stage else [self.step.id.event]
        own = "/".join(self.step.id.stage)
        ends = not way or own == "/".join(way) or own.endswith("/" + "/".join(way))
        return event == self.step.id.event and ends and path in ("", self.step.id.path)

    def why(self) -> str:
        """Why the stage decided as it did, as far as it says so."""
        if self.error is None:
            return self.note
        if isinstance(self.error, Close):
            what = f"close {self.error.code} {self.error.reason}".rstrip()
        elif isinstance(self.error, Refusal):
            what = f"refuse {self.error.status} {self.error.reason}".rstrip()
        else:
            what = f"{type(self.error).__name__}: {self.error}"
        return f"{what} ({self.note})" if self.note else what


class Trace:
    """Observes pipelines (`fws.pipeline.observation.Observer`) and keeps what happened since `take`.

    Args:
        explain: whether filters are asked about every decision, and not only about those that end an event.

    Attributes:
        passages: the calls of filters, in the order in which they began.
    """

    def __init__(self, *, explain: bool = False) -> None:
        self._explain = explain
        self.passages: list[Passage] = []
        self._running: dict[Any, Passage] = {}
        # Which passage has sent or published a payload.
        self._sources: dict[bytes, Passage] = {}

    def enter(self, step: Step, arguments: tuple[Any, ...]) -> Passage:
        me = getcurrent()
        passage = self._running[me] = Passage(step, arguments, self._running.get(me))
        self.passages.append(passage)
        return passage

    def leave(self, passage: Passage, result: Any) -> None:
        passage.result = result
        self._end(passage, "drop" if result is DROP else "pass")

    def fail(self, passage: Passage, error: BaseException) -> None:
        passage.error = error
        self._end(passage, outcome_of(error))

    def _end(self, passage: Passage, outcome: str) -> None:
        passage.end(outcome, explain=self._explain)
        if passage.outer is None:
            self._running.pop(getcurrent(), None)
        else:
            self._running[getcurrent()] = passage.outer

    def wrote(self, message: Any) -> None:
        """The running hook sends or publishes a message."""
        passage = self._running.get(getcurrent())
        if passage is not None:
            try:
                self._sources[payload_of(message)[1]] = passage
            except TypeError:
                pass

    def source_of(self, message: str | bytes) -> Passage | None:
        """The stage that has sent or published a message in this turn, as far as it is known."""
        return self._sources.get(message.encode("utf-8", "replace") if isinstance(message, str) else message)

    def take(self) -> list[Passage]:
        """What has happened since the last call."""
        passages, self.passages = self.passages, []
        return passages

    def forget_sources(self) -> None:
        """A new turn begins."""
        self._sources.clear()

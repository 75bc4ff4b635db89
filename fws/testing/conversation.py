"""Plays a transcript on a simulation, turn by turn, and says exactly where it goes differently."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Iterable, Iterator, Sequence

import msgspec

from fws.base.brief import brief
from fws.testing.peer import Received
from fws.testing.simulation import Simulation, SimulationError
from fws.testing.trace import Passage
from fws.transcripts.language import (
    Action,
    Closed,
    Connect,
    Expectation,
    Leave,
    Nothing,
    Outcome,
    Publish,
    Receives,
    Say,
    Statement,
    Wait,
)

# The most characters of a message in a failure.
MAX_SHOWN = 200


class Turn:
    """What one action has caused.

    Attributes:
        action: the statement.
        passages: what the stages did, in order.
        received: what arrived at each client, in order.
        faults: what was logged as an error outside of stages, such as in a deferred function.
    """

    def __init__(
        self,
        action: Action,
        passages: Sequence[Passage],
        received: dict[str, deque[Received]],
        faults: Sequence[str],
    ) -> None:
        self.action = action
        self.passages = passages
        self.received = received
        self.faults = faults

    def endings(self) -> list[Passage]:
        """The stages at which an event ended, without those that only pass on the outcome of a branch."""
        return [one for one in self.passages if one.outcome != "pass" and not one.repeats]


class Failure(msgspec.Struct, frozen=True):
    """A transcript goes differently.

    Attributes:
        statement: the line.
        action: the action of its turn.
        expected, got: in words.
        by: the stage that is responsible; None if none is known.
        because: why, as far as the stage says so.
    """

    statement: Statement
    action: Statement
    expected: str
    got: str
    by: Passage | None = None
    because: str = ""


class Conversation:
    """A transcript that is being played.

    Args:
        simulation: the servers and clients.
    """

    def __init__(self, simulation: Simulation) -> None:
        self._simulation = simulation
        self._log = _Log()

    def play(self, statements: Iterable[Statement]) -> Failure | None:
        """Play all statements. Returns the first failure."""
        for action, expectations in turns(statements):
            turn = self.act(action)
            if isinstance(turn, Failure):
                return turn
            failure = self.check(turn, expectations)
            if failure is not None:
                return failure
        return None

    def act(self, action: Action) -> Turn | Failure:
        """Do what an action says, and let everything happen that it causes. A Failure says that it is impossible."""
        simulation = self._simulation
        simulation.trace.take()
        simulation.trace.forget_sources()
        logger = logging.getLogger("fws")
        logger.addHandler(self._log)
        try:
            self._do(action)
            simulation.settle()
        except SimulationError as error:
            return Failure(action, action, "", str(error))
        finally:
            logger.removeHandler(self._log)
        received = {}
        for name, speaker in simulation.speakers.items():
            if speaker.received:
                received[name] = deque(speaker.received)
                speaker.received.clear()
        return Turn(action, simulation.trace.take(), received, self._log.take())

    def _do(self, action: Action) -> None:
        simulation = self._simulation
        match action:
            case Connect():
                headers = [*action.headers]
                if action.token:
                    headers.append(("Authorization", f"Bearer {action.token}"))
                if (speaker := simulation.speakers.get(action.client)) is not None and speaker.connected:
                    raise SimulationError(f"{action.client} is still connected")
                if action.node not in simulation.nodes:
                    simulation.add_node(action.node)
                simulation.connect(
                    action.client,
                    action.target,
                    node=action.node,
                    headers=headers,
                    address=action.address,
                    user=action.user,
                    claims=action.claims,
                )
            case Say():
                speaker = simulation.speakers[action.client]
                if not speaker.connected:
                    raise SimulationError(f"{action.client} is not connected any more")
                for _ in range(action.times):
                    speaker.peer.say(action.message)
            case Leave():
                simulation.speakers[action.client].peer.close_with(action.code, action.reason)
            case Publish():
                simulation.publish(action.channel, action.message)
            case Wait():
                simulation.advance(action.seconds)

    def check(self, turn: Turn, expectations: Sequence[Expectation]) -> Failure | None:
        """Compare what has happened in a turn with what is expected of it."""
        for expectation in expectations:
            if (failure := self.compare(turn, expectation)) is not None:
                return failure
        last = expectations[-1] if expectations else turn.action
        for client in turn.received:
            if (failure := self._check_nothing(turn, client, last, more=True)) is not None:
                return failure
        wanted = [one for one in expectations if isinstance(one, Outcome) and one.kind == "error"]
        for passage in turn.endings():
            if passage.outcome == "error" and not any(passage.is_at(one.path, one.stage) for one in wanted):
                return Failure(turn.action, turn.action, "no error", passage.why(), passage)
        if turn.faults and not wanted:
            return Failure(turn.action, turn.action, "no error", turn.faults[0])
        return None

    def compare(self, turn: Turn, expectation: Expectation) -> Failure | None:
        """Compare what has happened in a turn with one expectation. What it has matched is taken out of the turn."""
        match expectation:
            case Outcome():
                return self._check_outcome(turn, expectation)
            case Receives():
                return self._check_received(turn, expectation)
            case Closed():
                return self._check_closed(turn, expectation)
            case Nothing():
                return self._check_nothing(turn, expectation.client, expectation)
        raise TypeError(expectation)

    def _check_received(self, turn: Turn, expected: Receives) -> Failure | None:
        arrived = turn.received.get(expected.client, deque())
        for number in range(expected.times):
            if not arrived:
                which = f" ({number + 1} of {expected.times})" if expected.times > 1 else ""
                wanted = f"{expected.client} to receive {expected.pattern}{which}"
                by = self._culprit(turn)
                return Failure(expected, turn.action, wanted, "nothing", by, by.why() if by is not None else "")
            first = arrived.popleft()
            differs = "" if first.message is None else expected.pattern.difference(first.message)
            if first.message is None or differs:
                wanted = f"{expected.client} to receive {expected.pattern}"
                return self._different(turn, expected, wanted, first, differs)
        return None

    def _check_closed(self, turn: Turn, expected: Closed) -> Failure | None:
        word = "refuse" if expected.refused else "close"
        code = f" {expected.code}" if expected.code else ""
        reason = f" {expected.reason}" if expected.reason is not None else ""
        wanted = f"{expected.client} to receive {word}{code}{reason}"
        arrived = turn.received.get(expected.client, deque())
        if not arrived:
            by = self._culprit(turn)
            return Failure(expected, turn.action, wanted, "nothing", by, by.why() if by is not None else "")
        first = arrived.popleft()
        same = first.message is None and first.refused == expected.refused and expected.code in (0, first.code)
        differs = "" if not same or expected.reason is None else expected.reason.difference(first.reason)
        return None if same and not differs else self._different(turn, expected, wanted, first, differs)

    def _check_nothing(self, turn: Turn, client: str, line: Statement, *, more: bool = False) -> Failure | None:
        arrived = turn.received.get(client)
        if not arrived:
            return None
        number = f" and {len(arrived) - 1} more" if len(arrived) > 1 else ""
        wanted = f"nothing {'else ' if more else ''}for {client}"
        return self._different(turn, line, wanted, arrived[0], "", number)

    def _check_outcome(self, turn: Turn, expected: Outcome) -> Failure | None:
        endings = turn.endings() if not expected.stage else [one for one in turn.passages if one.outcome != "pass"]
        found = [one for one in endings if one.outcome == expected.kind and one.is_at(expected.path, expected.stage)]
        if len(found) == expected.times:
            return None
        where = f" at {expected.path} {expected.stage}".rstrip().replace("  ", " ") if expected.stage else ""
        wanted = f"{expected.kind}{where}" + (f", {expected.times} times" if expected.times > 1 else "")
        if found:
            return Failure(expected, turn.action, wanted, f"{len(found)} times", found[-1], found[-1].why())
        by = self._culprit(turn) or next(
            (one for one in reversed(turn.passages) if one.is_at(expected.path, expected.stage)), None
        )
        got = f"{by.outcome} at {by.stage}" if by is not None else "no such stage was reached"
        return Failure(expected, turn.action, wanted, got, by, by.why() if by is not None else "")

    def _different(
        self, turn: Turn, line: Statement, wanted: str, got: Received, differs: str, more: str = ""
    ) -> Failure:
        by = self._source(turn, got)
        because = differs or (by.why() if by is not None else "")
        return Failure(line, turn.action, wanted, shown(got) + more, by, because)

    def _source(self, turn: Turn, got: Received) -> Passage | None:
        """The stage that has caused something to arrive."""
        if got.message is not None:
            return self._simulation.trace.source_of(got.message)
        kinds = ("refuse", "error") if got.refused else ("close", "refuse")
        return next((one for one in reversed(turn.endings()) if one.outcome in kinds), None)

    @staticmethod
    def _culprit(turn: Turn) -> Passage | None:
        """The stage because of which nothing arrived: the last one that ended an event."""
        return next(iter(reversed(turn.endings())), None)


def turns(statements: Iterable[Statement]) -> Iterator[tuple[Action, list[Expectation]]]:
    """Each action with the expectations below it."""
    action: Action | None = None
    expectations: list[Expectation] = []
    for statement in statements:
        if isinstance(statement, Action):
            if action is not None:
                yield action, expectations
            action, expectations = statement, []
        elif isinstance(statement, Expectation):
            expectations.append(statement)
    if action is not None:
        yield action, expectations


def shown(received: Received) -> str:
    """What has arrived, as a transcript expects it."""
    if received.message is None:
        return f"{'refuse' if received.refused else 'close'} {received.code} {received.reason}".rstrip()
    message = received.message
    if isinstance(message, str):
        return message if len(message) <= MAX_SHOWN and message.isprintable() else brief(message, MAX_SHOWN)
    return brief(message, MAX_SHOWN)


class _Log(logging.Handler):
    """Keeps the errors that are logged outside of stages."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self._lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        # What a stage `log level=error` writes is no fault.
        if record.name != "fws.log":
            self._lines.append(record.getMessage())

    def take(self) -> list[str]:
        lines, self._lines = self._lines, []
        return lines

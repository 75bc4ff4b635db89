"""Runs recorded traffic through a configuration, offline, and compares what happens with what has happened."""

from __future__ import annotations

import re
from collections import Counter, defaultdict, deque
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import msgspec

from fws.base.errors import FwsError
from fws.compiler.compile import project_of
from fws.compiler.registry import Registry
from fws.config import Document
from fws.live.observation import Observation
from fws.live.recorder import FORMAT, Recorded, Recorder, shown
from fws.testing.simulation import Simulation, SimulationError

# Claims of a token that a new token gets anew.
_TIMES = ("exp", "iat", "nbf", "jti")
# A time (RFC 3339) differs by the milliseconds that an event takes.
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?(?:Z|[+-]\d\d:\d\d)")
# Seconds by which two numbers may differ that are times.
_EPOCH = range(10**9, 10**10)
# Events that are compared.
_COMPARED = ("connect", "message", "publication", "disconnect")


class RecordingError(FwsError):
    """A file is not a recording."""


class Difference(msgspec.Struct, frozen=True):
    """One event that goes differently.

    Attributes:
        kind: what is different, in words.
        stage: the stage that makes the difference, as `PATH EVENT/STAGE`; empty if none does alone.
        before, after: the event as it was recorded, and as it is now; None if it does not happen.
        was, now: what differs, in words.
    """

    kind: str
    stage: str
    before: Recorded | None
    after: Recorded | None
    was: str
    now: str


class Comparison(msgspec.Struct):
    """The result of a replay.

    Attributes:
        events: the number of recorded events.
        clients: the number of clients.
        same: events that go as before.
        differences: all others.
        unreplayed: events that could not be replayed, by reason.
    """

    events: int = 0
    clients: int = 0
    same: int = 0
    differences: list[Difference] = []
    unreplayed: Counter[str] = msgspec.field(default_factory=Counter)


def read_recording(file: Path) -> list[Recorded]:
    """The events of a recording, in the order in which they began.

    Raises:
        RecordingError: the file is not a recording, or a line of it is damaged.
        OSError: it cannot be read.
    """
    lines = file.read_bytes().split(b"\n")
    try:
        head = msgspec.json.decode(lines[0], type=dict[str, Any])
    except msgspec.DecodeError:
        head = {}
    if head.get("recording") != FORMAT:
        raise RecordingError(f"{file} is not a recording of `fws record`")
    events = []
    for number, line in enumerate(lines[1:], 2):
        if line.strip():
            try:
                events.append(msgspec.json.decode(line, type=Recorded))
            except msgspec.DecodeError as error:
                # The last line may be cut off, because the recording was ended in the middle of it.
                if number < len(lines):
                    raise RecordingError(f"{file}:{number}: {error}") from None
    return sorted(events, key=lambda event: (event.at, event.number))


def replay(events: Iterable[Recorded], document: Document, environ: Mapping[str, str]) -> Comparison:
    """Run recorded events through a configuration, and compare.

    Raises:
        ConfigError: the configuration has problems.
        SimulationError: its filters cannot be started.
    """
    events = list(events)
    result = Comparison(events=sum(event.event in _COMPARED for event in events))
    result.clients = len({event.client for event in events if event.client})
    if not events:
        return result
    registry = Registry(project_of(Path(document.source.file).parent))
    with Simulation(document, environ, registry=registry, wall=events[0].at) as simulation:
        node = simulation.nodes[""]
        observation = Observation(lambda: node.generation, node.hub)
        recorder = Recorder(simulation.wall)
        observation.add(recorder)
        happened: list[Recorded] = []
        absent: set[str] = set()
        for event in events:
            simulation.advance(max(0.0, event.at - simulation.wall.now))
            if event.client in absent:
                continue
            reason = _cause(simulation, event)
            if reason:
                result.unreplayed[reason] += 1
                absent.add(event.client)
            simulation.settle()
            happened += recorder.take(last=True)
    here = {event.client for event in events if event.event == "present"}
    _compare(
        [event for event in events if event.client not in absent],
        [event for event in happened if event.event != "connect" or event.client not in here],
        result,
    )
    return result


def _cause(simulation: Simulation, event: Recorded) -> str:
    """Let what came in come in again. Returns why this is impossible, or nothing."""
    speaker = simulation.speakers.get(event.client)
    match event.event:
        case "connect" | "present":
            return _connect(simulation, event)
        case "message":
            if speaker is None or not speaker.connected:
                return ""  # it was refused or closed, and that is a difference of its own
            speaker.peer.say(bytes.fromhex(event.message) if event.binary else str(event.message))
        case "arrived":
            message = bytes.fromhex(event.message) if event.binary else event.message
            text = message if isinstance(message, str | bytes) else msgspec.json.encode(message).decode()
            simulation.publish(event.channel or "", text)
        case "disconnect":
            if speaker is not None and speaker.connected:
                speaker.peer.close_with(1001, "")
    return ""


def _connect(simulation: Simulation, event: Recorded) -> str:
    claims = {name: value for name, value in (event.identity or {}).items() if name not in _TIMES}
    user = str(claims.pop("user", "") or claims.get("sub", ""))
    target = event.target or "/"
    has_token = event.identity is not None and simulation.asks_for_a_token(target)
    try:
        simulation.connect(
            event.client,
            target,
            headers=event.headers.items(),
            address=event.address or "192.0.2.1",
            user=user if has_token else None,
            claims=claims if has_token else None,
            identity=None if has_token else event.identity,
        )
    except SimulationError as error:
        return str(error)
    return ""


def _compare(before: Iterable[Recorded], after: Iterable[Recorded], result: Comparison) -> None:
    """Compare the events of each client one by one."""
    found: dict[tuple[str, str], deque[Recorded]] = defaultdict(deque)
    for event in after:
        found[event.event, event.client].append(event)
    for event in before:
        if event.event not in _COMPARED:
            continue
        others = found[event.event, event.client]
        difference = _difference(event, others.popleft() if others else None)
        if difference is None:
            result.same += 1
        else:
            result.differences.append(difference)
    for others in found.values():
        for event in others:
            if event.event in _COMPARED and event.event != "disconnect":
                result.differences.append(Difference("new", _last(event), None, event, "", _ending(event)))


def _difference(before: Recorded, after: Recorded | None) -> Difference | None:
    if after is None:
        return Difference("does not happen any more", _last(before), before, None, _ending(before), "")
    was, now = _end(before), _end(after)
    if was != now:
        stage = now[0] if now[1] != "pass" else was[0]
        return Difference(_kind(was, now), stage, before, after, _ending(before), _ending(after))
    for name, kind in (("sent", "answered differently"), ("published", "published differently")):
        one, other = _plain(getattr(before, name)), _plain(getattr(after, name))
        if one != other:
            stage = _last(after)
            return Difference(kind, stage, before, after, _values(getattr(before, name)), _values(getattr(after, name)))
    return None


def _end(event: Recorded) -> tuple[str, str]:
    """The stage at which an event has ended, and how; an empty stage if it passed all of them."""
    return next(((stage, outcome) for stage, outcome in event.stages if outcome != "pass"), ("", "pass"))


def _kind(was: tuple[str, str], now: tuple[str, str]) -> str:
    words = {"drop": "dropped", "refuse": "refused", "close": "closed", "error": "failing", "pass": "passing"}
    if now[1] == "pass":
        return f"no longer {words[was[1]]}"
    return f"now {words[now[1]]}"


def _ending(event: Recorded) -> str:
    stage, outcome = _end(event)
    return f"{outcome} at {stage}" + (f" ({event.why})" if event.why else "") if stage else "passed"


def _last(event: Recorded) -> str:
    return event.stages[-1][0] if event.stages else ""


def _plain(values: Any) -> Any:
    """Values without what differs from run to run: times."""
    if isinstance(values, str):
        return _TIME.sub("TIME", values)
    if isinstance(values, dict):
        return {key: _plain(value) for key, value in values.items()}
    if isinstance(values, list | tuple):
        return [_plain(value) for value in values]
    if isinstance(values, int | float) and not isinstance(values, bool) and int(values) in _EPOCH:
        return "TIME"
    return values


def _values(values: list[tuple[Any, Any]]) -> str:
    return (
        ", ".join(f"{who or 'everybody'}: {msgspec.json.encode(value).decode()}" for who, value in values) or "nothing"
    )


def text_of(result: Comparison, places: Mapping[str, str], examples: int = 3) -> str:
    """The comparison for a terminal: each kind of difference by stage, with a few examples.

    Args:
        places: where stages are in the file, by address.
    """
    groups: dict[tuple[str, str], list[Difference]] = defaultdict(list)
    for difference in result.differences:
        groups[difference.kind, difference.stage].append(difference)
    lines = []
    for (kind, stage), members in sorted(groups.items(), key=lambda item: -len(item[1])):
        lines.append(f"{len(members):6}  {kind}  {stage}  {places.get(stage, '')}".rstrip())
        for one in members[:examples]:
            event = one.before or one.after
            assert event is not None
            lines.append(f"          {event.client or event.channel or '-'}  {event.event}  {shown(event)}")
            lines += [f"            {word} {text[:300]}" for word, text in (("was", one.was), ("now", one.now)) if text]
    lines.append(f"{result.same:6}  as before")
    lines += [f"{number:6}  not replayed: {reason}" for reason, number in result.unreplayed.most_common()]
    return "\n".join(lines)

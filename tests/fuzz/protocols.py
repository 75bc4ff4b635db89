"""What must hold for any bytes of clients of the protocol centrifuge, and over server-sent events."""

from __future__ import annotations

import contextlib
import re
from collections import Counter
from typing import Any

import msgspec

from fws.pipeline.publication import Position
from fws.protocols.centrifuge.commands import parse
from fws.protocols.centrifuge.replies import data_of
from fws.protocols.centrifuge.session import State
from fws.server.emulation import Emulated
from fws.wire.encoding import payload_of
from fws.wire.framing import EVENTS
from fws.wire.lines import lines_of
from tests.fuzz.fake_peer import FakePeer
from tests.wire.events import parse_events


def commands(data: bytes) -> None:
    """A session takes any lines. It answers each command once, and what it says is JSON.

    The first byte says whether channels are known at once, and the others are lines.
    """
    peer = FakePeer(knows=not data[:1] or data[0] % 2 == 0)
    asked: Counter[int] = Counter()
    lines: list[Any] = lines_of(data[1:].decode("utf-8", "replace"))
    for number, line in enumerate(lines):
        if not isinstance(line, str) or peer.closing:
            break
        with contextlib.suppress(ValueError):
            command = parse(line)
            asked[command.id] += 1
        peer.session.receive(line)
        if number % 3 == 2:
            _let_time_pass(peer)
    for _ in range(2):
        _let_time_pass(peer)
    connecting = peer.session.state is State.CONNECTING
    for id, answers in peer.answers.items():
        assert id
        assert answers <= asked[id], "no more answers than commands"
    if not peer.closing and not connecting:
        assert all(peer.answers[id] == count for id, count in asked.items() if id), "each command has its answer"
    peer.session.end()
    _let_time_pass(peer)


def _let_time_pass(peer: FakePeer) -> None:
    """What was asked of Redis is known, and timers are over."""
    later, peer.later = peer.later, []
    for call in later[::-1]:
        call()
    waiting, peer.waiting = peer.waiting, []
    for line in waiting:
        if not peer.closing:
            peer.session.receive(line)


def emulated(data: bytes) -> None:
    """A body with commands is read or refused, and gives a text."""
    try:
        found = Emulated.parse(data)
    except (ValueError, TypeError):
        return
    assert 0 < len(found.session) <= 100
    assert len(found.node) <= 100
    lines_of(found.data)
    again = msgspec.json.encode({"session": found.session, "data": found.data, "node": found.node})
    assert Emulated.parse(again) == found


def events(data: bytes) -> None:
    """A browser reads one event of each, and what it sends when it returns is a position or nothing."""
    text = data.decode("utf-8", "replace")
    ends = re.sub("\r\n|\r", "\n", text)
    (event,) = parse_events(EVENTS.text(text.encode()).decode())
    assert event.data == ends
    position = Position.parse(text)
    (event,) = parse_events(EVENTS.event(text.encode(), id=str(position or ""), name="close").decode())
    assert (event.data, event.name) == (ends, "close")
    if position is not None:
        assert Position.parse(event.id) == position == Position.parse(text)
    raw = bytes(data_of(text, *payload_of(text)))
    assert not raw.count(b"\n")
    msgspec.json.decode(raw)

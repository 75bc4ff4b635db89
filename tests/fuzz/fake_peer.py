"""A client for a session that is fuzzed: does what it is asked at once, or when the inputs say so."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from fws.base.errors import Refusal, Reject
from fws.histories.base import Page
from fws.pipeline.call import Call
from fws.pipeline.outcomes import DROP, Several
from fws.pipeline.publication import Gap, Position, Publication, check_channel
from fws.presence.base import Present
from fws.protocols.centrifuge.session import CentrifugeSession

_decode = msgspec.json.Decoder().decode


class FakePeer:
    """As `fws.protocols.base.Peer`, with checks of what the session does.

    Args:
        knows: whether channels are known at once.
    """

    def __init__(self, *, knows: bool) -> None:
        self.id = "fake"
        self.user = "ann"
        self.channels: set[str] = set()
        self.closing = False
        self.own: set[str] = set()
        self.knows = knows
        self.answers: Counter[int] = Counter()
        self.later: list[Callable[[], object]] = []
        self.waiting: list[str] = []
        self.connected = False
        self.session = CentrifugeSession(self, 25.0, 10.0)

    def check(self, line: bytes) -> None:
        """What is written is JSON on one line, and comes after the answer of `connect`."""
        frame = _decode(line)
        assert b"\n" not in line
        if "id" in frame:
            assert len(set(frame) - {"id"}) == 1, frame
            self.answers[frame["id"]] += 1

    def wall(self) -> float:
        return 1e9

    def after(self, seconds: float, call: Callable[[], None]) -> Callable[[], None]:
        self.later.append(call)
        return lambda: self.later.remove(call) if call in self.later else None

    def write(self, frame: bytes, *, asked: bool = False) -> bool:
        self.check(_payload(frame))
        return not self.closing

    def admit(self, call: Call) -> None:
        if call.token == "no":
            raise Reject(401, cause="expired")
        if call.token:
            self.session.grant({"exp": 2e9, "channels": ["granted"], "info": call.data}, 30.0, 0.0, self.renew)
        self.join("lobby")
        self.connected = True

    def expire(self, reason: str) -> None:
        self.close(3005, reason)

    def renew(self, token: str, done: Callable[[Refusal | None], None]) -> None:
        done(Reject(401) if token == "no" else None)

    def answer(self, frame: bytes, *, only: bool = False) -> None:
        self.check(_payload(frame))

    def ask(self, call: Call, message: Any) -> Any:
        if message == "drop":
            return DROP
        if message == "reject":
            raise Reject(429)
        return Several(message) if isinstance(message, list) and call.kind != "rpc" else message

    def check_publication(self, channel: str, message: Any) -> None:
        try:
            check_channel(channel)
        except ValueError as error:
            raise Reject(400, str(error)) from None

    def publish(self, channel: str, message: Any) -> None:
        check_channel(channel)
        msgspec.json.encode(message)

    def ask_for(self, channel: str, since: str, call: Call) -> None:
        self.check_publication(channel, None)
        if channel == "no":
            raise Reject(403)
        assert Position.parse(since) is None or ":" in since
        self.own.add(channel)
        self._joined(channel, since)

    def confirm(self, channel: str, call: Call) -> None:
        if call.token == "no":
            raise Reject(403)

    def requested(self, channel: str) -> bool:
        return channel in self.own

    def leave(self, channel: str) -> None:
        if channel in self.channels:
            self.channels.remove(channel)
            self.own.discard(channel)
            self.session.left(channel)

    def join(self, channel: str) -> None:
        check_channel(channel)
        if channel not in self.channels:
            self._joined(channel, self.session.since(channel))

    def _joined(self, channel: str, since: str) -> None:
        self.channels.add(channel)
        position = Position("e", 7)
        missed: list[Publication] = [Publication(channel, since, offset=6, epoch="e"), Gap.at(channel, position)]
        if self.knows:
            self.session.joined(channel, missed if since else [], position)
        else:
            self.later.append(lambda: self._known(channel))

    def _known(self, channel: str) -> None:
        if channel in self.channels:
            self.session.joined(channel, [], None)

    def page(
        self, channel: str, since: Position | None, limit: int, reverse: bool, done: Callable[[Page | None], None]
    ) -> bool:
        assert -1 < limit <= 1000
        if channel == "lobby":
            return False
        done(Page([Publication(channel, "x", offset=1, epoch="e")], Position("e", 1), since is None))
        return True

    def who(self, channel: str, done: Callable[[Sequence[Present] | None], None]) -> bool:
        done([Present("fake", "ann")])
        return True

    def close(self, code: int = 1000, reason: str = "") -> None:
        self.closing = True

    def refuse(self, refusal: Refusal) -> None:
        self.closing = True

    def note(self, code: int, reason: str, what: str) -> None:
        assert 100 <= code < 1000

    def fail(self, code: int, reason: str) -> None:
        assert 3500 <= code < 4000 or code == 3013
        self.closing = True

    def heard(self) -> None:
        pass

    def again(self, lines: Sequence[str]) -> None:
        self.waiting += lines


def _payload(frame: bytes) -> bytes:
    """The payload of a text frame."""
    assert frame[0] == 0x81
    return frame[{126: 4, 127: 10}.get(frame[1], 2) :]

"""The outbox: whole frames in order, a limit in bytes, and no blocking."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fws.clients.outbox import Outbox
from fws.runtime.traffic import Traffic


class Owner:
    """Notes each overflow."""

    def __init__(self) -> None:
        self.fd = 0
        self.overflows: list[str] = []
        self.dropped = 0

    def overflow(self) -> None:
        self.overflows.append("over")

    def skipped(self, count: int) -> None:
        self.dropped += count


class Pipe:
    """A socket that accepts `room` bytes, and then none until there is more room."""

    def __init__(self, room: int = 10**9) -> None:
        self.room = room
        self.fd = -1
        self.waits = False
        self.taken = b""
        self.calls = 0
        self.ended = False
        self.broken = False
        self.callback: Callable[[], None] | None = None

    def send(self, data: bytes | memoryview, /) -> int:
        self.calls += 1
        if self.broken:
            raise ConnectionResetError
        count = min(self.room, len(data))
        if not count and data:
            raise BlockingIOError
        self.taken += bytes(data[:count])
        self.room -= count
        return count

    def sendmsg(self, pieces: list[bytes | memoryview], /) -> int:
        return self.send(b"".join(bytes(piece) for piece in pieces))

    def when_writable(self, callback: Callable[[], None]) -> None:
        self.callback = callback

    def stop_writing(self) -> None:
        self.callback = None

    def shutdown(self) -> None:
        self.ended = True

    def make_room(self, room: int) -> None:
        self.room += room
        if self.callback is not None:
            self.callback()


def opened(room: int = 10**9, limit: int = 100) -> tuple[Outbox, Pipe, list[str]]:
    owner = Owner()
    outbox = Outbox(limit, owner, Traffic())
    pipe = Pipe(room)
    outbox.open(pipe, direct=True)
    return outbox, pipe, owner.overflows


def test_a_frame_goes_out_at_once_in_one_call() -> None:
    outbox, pipe, _ = opened()
    assert outbox.write(b"frame")
    assert (pipe.taken, pipe.calls, outbox.size, pipe.callback) == (b"frame", 1, 0, None)


def test_frames_wait_for_the_handshake() -> None:
    outbox = Outbox(100, Owner(), Traffic())
    outbox.write(b"one")
    outbox.write(b"two")
    pipe = Pipe()
    outbox.open(pipe, direct=True)
    outbox.write(b"three")
    assert pipe.taken == b"onetwothree"
    assert pipe.calls == 2


def test_bytes_that_the_socket_does_not_accept_wait_in_order() -> None:
    outbox, pipe, _ = opened(room=2)
    outbox.write(b"abc")
    outbox.write(b"def")
    assert (pipe.taken, outbox.size) == (b"ab", 4)
    pipe.make_room(3)
    assert (pipe.taken, outbox.size) == (b"abcde", 1)
    pipe.make_room(10)
    assert (pipe.taken, outbox.size, pipe.callback) == (b"abcdef", 0, None)


def test_above_the_limit_the_owner_is_called_and_nothing_is_queued() -> None:
    outbox, _pipe, overflows = opened(room=0, limit=10)
    assert outbox.write(b"x" * 10)
    assert not outbox.write(b"y")
    assert overflows == ["over"]
    assert outbox.size == 10


def test_small_frames_count_with_their_overhead() -> None:
    """1 MiB of 3-byte pongs is 14 MiB of memory."""
    outbox, _pipe, overflows = opened(room=0, limit=10_000)
    while outbox.write(b"abc"):
        pass
    assert overflows == ["over"]
    assert outbox.size < 1000


def test_one_frame_may_be_larger_than_the_limit() -> None:
    outbox, _pipe, overflows = opened(room=0, limit=10)
    assert outbox.write(b"x" * 50)
    assert not overflows


def test_a_sealed_outbox_takes_nothing_after_its_last_frame() -> None:
    outbox, pipe, _ = opened(room=0)
    outbox.write(b"message")
    outbox.seal(b"close")
    assert not outbox.write(b"late")
    outbox.seal(b"second close")
    pipe.make_room(100)
    assert pipe.taken == b"messageclose"


def test_sealing_for_the_slow_keeps_the_rest_of_a_half_sent_frame_only() -> None:
    outbox, pipe, _ = opened(room=3)
    outbox.write(b"half-sent")
    outbox.write(b"never-sent")
    outbox.seal(b"close", only=True)
    pipe.make_room(100)
    assert pipe.taken == b"half-sentclose"


def test_sealing_for_the_slow_forgets_a_first_frame_of_which_nothing_went_out() -> None:
    outbox, pipe, _ = opened(room=0)
    outbox.write(b"never-sent")
    outbox.seal(b"close", only=True)
    pipe.make_room(100)
    assert pipe.taken == b"close"


@pytest.mark.parametrize("room", [0, 3, 100])
def test_fin_follows_the_last_byte(room: int) -> None:
    outbox, pipe, _ = opened(room=room)
    outbox.write(b"frame")
    outbox.end()
    assert pipe.ended == (room > 5)
    pipe.make_room(100)
    assert pipe.ended


def test_writes_to_a_broken_connection_are_ignored() -> None:
    outbox, pipe, overflows = opened(limit=10)
    pipe.broken = True
    for _ in range(100):
        assert not outbox.write(b"x" * 10)
    assert (outbox.size, overflows, pipe.calls) == (0, [], 1)


@given(
    st.lists(
        st.one_of(
            st.tuples(st.just("write"), st.integers(1, 40)),
            st.tuples(st.just("room"), st.integers(0, 60)),
            st.tuples(st.sampled_from(["cork", "uncork"]), st.just(0)),
        ),
        max_size=60,
    )
)
def test_the_bytes_on_the_wire_are_whole_frames_in_order(steps: list[tuple[str, int]]) -> None:
    outbox, pipe, overflows = opened(room=0, limit=100)
    accepted = b""
    for number, (kind, value) in enumerate(steps):
        if kind in ("cork", "uncork"):
            getattr(outbox, kind)()
            continue
        if kind == "room":
            pipe.make_room(value)
            continue
        frame = bytes([number % 256]) * value
        told = len(overflows)
        if outbox.write(frame):
            accepted += frame
        else:
            assert len(overflows) == told + 1
        assert outbox.size <= 100
    assert accepted.startswith(pipe.taken)
    assert len(accepted) == len(pipe.taken) + outbox.size
    outbox.uncork()
    pipe.make_room(10**6)
    assert pipe.taken == accepted


def test_corked_frames_are_written_in_one_call() -> None:
    outbox, pipe, _ = opened()
    outbox.cork()
    outbox.write(b"one")
    outbox.write(b"two")
    assert pipe.calls == 0
    outbox.uncork()
    outbox.uncork()
    outbox.write(b"three")
    assert (pipe.taken, pipe.calls, outbox.size) == (b"onetwothree", 2, 0)


def test_a_cork_holds_neither_much_nor_against_the_limit() -> None:
    outbox, pipe, overflows = opened(limit=100)
    outbox.cork()
    for _ in range(10):
        assert outbox.write(b"x" * 60)
    outbox.uncork()
    assert (len(pipe.taken), overflows) == (600, [])
    roomy, wide, _ = opened(limit=10**9)
    roomy.cork()
    for _ in range(20):
        roomy.write(b"x" * 10_000)
    assert len(wide.taken) >= 130_000


def test_a_cork_on_a_full_socket_changes_nothing() -> None:
    outbox, pipe, overflows = opened(room=0, limit=150)
    outbox.write(b"a" * 60)
    outbox.cork()
    outbox.write(b"b" * 30)
    outbox.uncork()
    assert (pipe.taken, outbox.size) == (b"", 90)
    assert not outbox.write(b"c" * 30)
    assert overflows == ["over"]
    pipe.make_room(1000)
    assert pipe.taken == b"a" * 60 + b"b" * 30


@pytest.mark.parametrize("last", [lambda outbox: outbox.seal(b"close"), lambda outbox: outbox.discard()])
def test_the_end_while_corked(last: Callable[[Outbox], None]) -> None:
    outbox, pipe, _ = opened()
    outbox.cork()
    outbox.write(b"answer")
    last(outbox)
    outbox.end()
    outbox.uncork()
    assert pipe.taken in (b"answerclose", b"")
    assert pipe.ended


def test_frames_on_hold_are_sent_in_order_only_if_released() -> None:
    outbox, pipe, overflows = opened(limit=200)
    outbox.write(b"before")
    outbox.hold()
    outbox.write(b"one")
    outbox.cork()
    outbox.write(b"two", several=True)
    outbox.uncork()
    assert pipe.taken == b"before"
    outbox.release()
    outbox.release()
    outbox.write(b"three")
    assert (pipe.taken, outbox.size, overflows) == (b"beforeonetwothree", 0, [])
    outbox.hold()
    outbox.write(b"secret")
    outbox.seal(b"close")
    assert pipe.taken == b"beforeonetwothreeclose"


def test_frames_on_hold_are_bounded_and_follow_queued_ones() -> None:
    outbox, pipe, overflows = opened(room=3, limit=200)
    outbox.write(b"before")
    outbox.hold()
    outbox.write(b"one")
    pipe.make_room(10)
    assert pipe.taken == b"before"
    outbox.write(b"two")
    assert pipe.taken == b"before"
    assert not outbox.write(b"x" * 150)
    assert overflows == ["over"]
    outbox.release()
    assert pipe.taken == b"beforeonetwo"

"""A channel's fan-out in slices, on real sockets: it stops between members, and never within a frame."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import ExitStack
from time import perf_counter

import gevent
import pytest

from fws.channels.channel import CHUNK, Channel, Entry
from fws.channels.formats import PLAIN
from fws.clients.outbox import Outbox
from fws.clients.transport import Transport
from fws.pipeline.publication import Publication
from fws.runtime.traffic import Traffic
from fws.wire.frames import TEXT, encode


class Member:
    """A plain client as a channel sees it, and the peer's end of its socket."""

    format = PLAIN

    def __init__(self, ours: socket.socket, theirs: socket.socket) -> None:
        theirs.setblocking(False)
        self.fd = -1
        self.theirs = theirs
        self.transport = Transport(ours)
        self.traffic = Traffic()
        self.outbox = Outbox(1 << 20, self, self.traffic)
        self.outbox.open(self.transport, b"", direct=True)

    def overflow(self) -> None:
        raise AssertionError("more than the outbox takes")

    def skipped(self, count: int) -> None:
        raise AssertionError("nothing here may be dropped")

    def receive(self, size: int) -> bytes:
        """Up to this many bytes that have arrived; empty without any."""
        got = b""
        with gevent.Timeout(10, False):
            while len(got) < size:
                try:
                    got += self.theirs.recv(size - len(got))
                except BlockingIOError:
                    gevent.sleep(0.001)
        return got


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


def slow(stack: ExitStack) -> Member:
    """A member whose socket accepts only some kilobytes at once."""
    listener = stack.enter_context(socket.socket())
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    listener.bind(("127.0.0.1", 0))
    listener.listen(1)
    ours = stack.enter_context(socket.socket())
    ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 8192)
    ours.connect(listener.getsockname())
    member = Member(ours, stack.enter_context(listener.accept()[0]))
    stack.callback(member.transport.close)
    return member


def quick(stack: ExitStack) -> Member:
    ours, theirs = socket.socketpair()
    member = Member(ours, stack.enter_context(theirs))
    stack.callback(member.transport.close)
    return member


def publish(channel: Channel, text: str) -> bytes:
    """Let a publication wait in the channel. Returns its frame."""
    channel.waiting.append(Entry(Publication(channel.name, text), TEXT, text.encode()))
    return encode(TEXT, text.encode())


def test_a_slice_that_ends_in_the_middle_of_a_frame_does_not_tear_it(stack: ExitStack) -> None:
    """Fault: if two members had received a part of a frame, the second got another channel's frame in its middle."""
    large, small = Channel("large"), Channel("small")
    members = [slow(stack), slow(stack)]
    for member in members:
        large.join(member)  # type: ignore[arg-type]
        small.join(member)  # type: ignore[arg-type]
    first = publish(large, "a" * 60_000)
    weight = large.fan_out(perf_counter() - 1)
    second = publish(small, "b")
    assert small.fan_out(perf_counter() + 10)
    while weight is None:
        weight = large.fan_out(perf_counter() - 1)
    last = encode(TEXT, b"c")
    for member in members:
        member.outbox.write(last)
        # Between channels there is no order, and who is not served in the first slice gets the small one first.
        assert member.receive(len(first + second + last)) in (first + second + last, second + first + last)


def test_the_clock_is_looked_at_also_where_every_socket_takes_the_frame(stack: ExitStack) -> None:
    """Fault: a channel whose members all read was served in a single turn, however many they were."""
    channel = Channel("all")
    members = [quick(stack) for _ in range(3 * CHUNK)]
    for member in members:
        channel.join(member)  # type: ignore[arg-type]
    frame = publish(channel, "x")
    slices = 1
    while channel.fan_out(perf_counter() - 1) is None:
        slices += 1
    assert slices >= 3
    assert [member.receive(len(frame)) for member in members] == [frame] * len(members)


def test_bytes_are_counted_that_members_get_at_once_later_and_never(stack: ExitStack) -> None:
    """Not every member gets a frame in the first slice: some are slow, one has just got it, and one has left."""
    channel = Channel("all")
    members = [slow(stack), *(quick(stack) for _ in range(100))]
    for member in members:
        channel.join(member)  # type: ignore[arg-type]
    frame = publish(channel, "a" * 60_000)
    while channel.fan_out(perf_counter() + 10) is None:
        pass
    later = sum(member.traffic.bytes_out for member in members)
    received = sum(len(member.receive(len(frame))) for member in members[1:])
    assert received == len(frame) * 100
    assert 0 < channel.written + later - received < len(frame)  # the slow one has got a part

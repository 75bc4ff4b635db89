"""Members that do not keep up: which publications are dropped, and what tells the client."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fws.channels.offer import Offer
from fws.clients.outbox import OVERHEAD, Outbox
from fws.pipeline.publication import Publication
from fws.runtime.traffic import Traffic
from tests.clients.test_outbox import Owner, Pipe
from tests.support import Harness, Peer, build

ROOM = 10


def offer(channel: str, text: str, *, latest: bool = False, gaps: bool = False) -> tuple[bytes, Offer]:
    def gap(last: Publication) -> bytes:
        return f"[{last.message}]".encode()

    return text.encode(), Offer(channel, latest, 1, Publication(channel, text), gap if gaps else None)


def blocked(limit: int) -> tuple[Outbox, Pipe, Owner]:
    """An outbox whose socket takes nothing, with a frame that was sent in part."""
    owner = Owner()
    outbox = Outbox(limit, owner, Traffic())
    pipe = Pipe(1)
    outbox.open(pipe, direct=True)
    outbox.write(b"<>")
    return outbox, pipe, owner


def rest(outbox: Outbox, pipe: Pipe) -> str:
    pipe.make_room(10**6)
    return pipe.taken.decode()


def test_nothing_is_dropped_as_long_as_there_is_room() -> None:
    outbox, pipe, owner = blocked(1000)
    for text in "abc":
        outbox.offer(*offer("x", text))
    assert rest(outbox, pipe) == "<>abc"
    assert (owner.dropped, owner.overflows) == (0, [])


def test_the_oldest_of_the_channel_is_dropped() -> None:
    outbox, pipe, owner = blocked(4 * OVERHEAD + 6)
    outbox.write(b"!")
    for text in "abcd":
        outbox.offer(*offer("x", text))
    outbox.offer(*offer("y", "1"))  # there is nothing of this channel to drop
    assert rest(outbox, pipe) == "<>!bcd"
    assert (owner.dropped, owner.overflows) == (2, [])


def test_latest_keeps_one_of_the_channel_even_if_there_is_room() -> None:
    outbox, pipe, owner = blocked(10_000)
    for text in "abc":
        outbox.offer(*offer("x", text, latest=True))
        outbox.offer(*offer("y", text.upper()))
    assert rest(outbox, pipe) == "<>ABcC"
    assert owner.dropped == 2


def test_one_gap_stands_for_all_that_was_dropped() -> None:
    outbox, pipe, owner = blocked(3 * OVERHEAD + 12)
    for text in "abcdef":
        outbox.offer(*offer("x", text, gaps=True))
    text = rest(outbox, pipe)
    assert text.count("[") == 1
    kept = text.partition("]")[2]
    assert text == f"<>[{chr(ord(kept[0]) - 1)}]{kept}"
    assert kept.endswith("f")
    assert owner.dropped == 6 - len(kept)


def test_a_single_frame_above_the_limit_passes_if_nothing_waits() -> None:
    owner = Owner()
    outbox = Outbox(10, owner, Traffic())
    pipe = Pipe(0)
    outbox.open(pipe, direct=True)
    outbox.offer(*offer("x", "a" * 50))
    assert rest(outbox, pipe) == "a" * 50


def test_gaps_do_not_fill_a_queue_that_others_have_filled() -> None:
    """Each publication that did not fit left a gap of its own."""
    outbox, pipe, owner = blocked(2 * OVERHEAD + 10)
    outbox.write(b"!" * 8)
    for text in "abcdef":
        outbox.offer(*offer("x", text, gaps=True))
        outbox.offer(*offer("y", text, gaps=True))
    text = rest(outbox, pipe)
    assert (text.count("["), text.count("[f]"), owner.dropped) == (2, 2, 12)


steps = st.lists(
    st.tuples(st.sampled_from(["offer", "latest", "write", "room"]), st.sampled_from("xy"), st.integers(1, 30)),
    max_size=40,
)


@given(steps, st.integers(50, 500))
def test_order_whole_frames_and_the_limit(play: list[tuple[str, str, int]], limit: int) -> None:
    owner = Owner()
    outbox = Outbox(limit, owner, Traffic())
    pipe = Pipe(0)
    outbox.open(pipe, direct=True)
    numbers: list[int] = []
    for number, (what, channel, size) in enumerate(play):
        if what == "room":
            pipe.make_room(size)
            continue
        text = f"{number:03}{'.' * size};"
        if what == "write":
            outbox.write(text.encode())
        else:
            outbox.offer(*offer(channel, text, latest=what == "latest"))
        numbers.append(number)
        assert outbox.size == sum(map(len, outbox._queue or ()))
    got = [int(frame[:3]) for frame in rest(outbox, pipe).split(";")[:-1]]
    assert got == sorted(got)
    assert len(got) + owner.dropped + len(owner.overflows) == len(numbers)


CONF = """
[limits]
max_outbox = "1KiB"
[channels."feed:*"]
slow = "{slow}"
history = 100
[endpoints."/plain"]
connect = ["join feed:a"]
[endpoints."/positions"]
positions = true
connect = ["join feed:a"]
[endpoints."/deliver"]
connect = ["join feed:a"]
deliver = ["when message != 'x'"]
"""


def slow(harness: Harness, path: str) -> list[Any]:
    """What a client receives that has not read for a while."""
    peer = Peer()
    client = harness.connect(path, peer=peer)
    harness.sent(client)
    peer.wire.full = True
    for number in range(50):
        harness.channels.publish("feed:a", f"{number:02}{'.' * 100}")
        harness.settle()
    assert not client.closing
    peer.wire.drain()
    harness.channels.publish("feed:a", "live")
    return [json.loads(text) if path == "/positions" else text for text in harness.sent(client)]


@pytest.mark.parametrize("path", ["/plain", "/deliver"])
def test_drop_oldest(tmp_path: Path, path: str) -> None:
    harness = build(CONF.format(slow="drop_oldest"), tmp_path)
    got = slow(harness, path)
    numbers = [int(text[:2]) for text in got[:-1]]
    # The first one was being sent when the client stopped reading.
    assert numbers[1:] == list(range(numbers[1], 50))
    assert got[-1] == "live"
    assert harness.metrics["publications_skipped"] == 50 - len(numbers)
    assert harness.metrics["slow_consumers"] == 0


def test_latest(tmp_path: Path) -> None:
    got = slow(build(CONF.format(slow="latest"), tmp_path), "/plain")
    assert [text[:2] for text in got] == ["00", "49", "li"]


def test_a_gap_is_left_where_positions_are_told(tmp_path: Path) -> None:
    got = slow(build(CONF.format(slow="drop_oldest"), tmp_path), "/positions")
    assert got[0]["offset"] == 1
    gap, *later = got[1:]
    assert (gap["type"], gap["channel"]) == ("gap", "feed:a")
    assert [one["offset"] for one in later] == list(range(gap["offset"] + 1, 52))


def test_close_is_the_default(tmp_path: Path) -> None:
    harness = build(CONF.format(slow="close"), tmp_path)
    with pytest.raises(AssertionError):
        slow(harness, "/plain")
    assert harness.metrics["slow_consumers"] == 1

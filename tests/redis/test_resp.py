from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fws.redis.resp import Failure, Replies, RespError, command, commands

replies: st.SearchStrategy[Any] = st.recursive(
    st.binary(max_size=30) | st.integers(-1000, 1000) | st.none(),
    lambda inner: st.lists(inner, max_size=4),
    max_leaves=8,
)
pushes = st.tuples(st.sampled_from([b"message", b"smessage"]), st.binary(max_size=9), st.binary(max_size=30)).map(list)


def encoded(reply: Any) -> bytes:
    if reply is None:
        return b"$-1\r\n"
    if isinstance(reply, bytes):
        return b"$%d\r\n%b\r\n" % (len(reply), reply)
    if isinstance(reply, int):
        return b":%d\r\n" % reply
    return b"*%d\r\n%b" % (len(reply), b"".join(encoded(item) for item in reply))


@pytest.mark.slow
@given(st.lists(replies | pushes), st.integers(1, 40))
def test_replies_are_the_same_however_they_are_cut(wanted: list[Any], size: int) -> None:
    data = b"".join(map(encoded, wanted))
    assert Replies(1000).feed(data) == wanted
    reader = Replies(1000)
    assert [reply for start in range(0, len(data), size) for reply in reader.feed(data[start : start + size])] == wanted


@given(st.integers(11, 500), st.integers(1, 40), st.booleans())
def test_a_reply_that_is_too_long_is_skipped_and_not_kept(length: int, size: int, push: bool) -> None:
    """Fault: a message of 64 MiB on a channel was kept in memory before its size was checked."""
    name = b"message" if push else b"other"
    data = encoded([name, b"c", b"x" * length]) + encoded([name, b"c", b"short"])
    reader = Replies(10)
    found = []
    for start in range(0, len(data), size):
        found += reader.feed(data[start : start + size])
        assert len(reader._buffer) < 100
    assert found == [[name, b"c", None], [name, b"c", b"short"]]


def test_errors_and_short_answers() -> None:
    found = Replies(100).feed(b"+PONG\r\n-NOAUTH Authentication required.\r\n:3\r\n*-1\r\n")
    assert found == [b"PONG", "NOAUTH Authentication required.", 3, []]
    assert isinstance(found[1], Failure)
    assert found[1].code == "NOAUTH"


@pytest.mark.parametrize(
    "data", [b"HTTP/1.1 400 Bad Request\r\n", b"$x\r\n", b"*999999999\r\n", b"*1\r\n" * 20, b"+" + b"x" * 70_000]
)
def test_bytes_that_are_not_redis_replies_are_refused(data: bytes) -> None:
    with pytest.raises(RespError):
        Replies(100).feed(data)


def test_commands_are_split() -> None:
    assert command(b"PUBLISH", b"c", b"\r\n") == b"*3\r\n$7\r\nPUBLISH\r\n$1\r\nc\r\n$2\r\n\r\n\r\n"
    assert commands(b"S", []) == b""
    assert commands(b"S", [b"a", b"b", b"c"], 2) == command(b"S", b"a", b"b") + command(b"S", b"c")

"""A client as filters see it: its request, messages, and identity."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from fws.wire.head import HeadReader
from fws.wire.request import Request
from tests.support import Harness, build


@pytest.fixture
def harness(tmp_path: Path) -> Harness:
    return build('[pipelines]\nmessage = ["echo"]\n', tmp_path)


def test_send_says_whether_it_will_be_sent(harness: Harness) -> None:
    client = harness.connect()
    assert client.send("x")
    client.close()
    assert not client.send("y")
    assert harness.sent(client) == ["x"]


def test_several_functions_may_see_messages_first(harness: Harness) -> None:
    """Fault: `jwt` waits for new tokens and `token` for one that arrives late, and the second replaced the first."""
    client = harness.connect()

    def takes(message: str) -> Callable[[object, object], bool]:
        return lambda client, said: said == message

    first, second = takes("one"), takes("two")
    client.divert(first)
    client.divert(second)
    for message in ("one", "two", "three"):
        harness.client_says(client, message)
    assert harness.sent(client) == ["three"]
    client.undivert(first)
    for message in ("one", "two"):
        harness.client_says(client, message)
    assert harness.sent(client) == ["one"]


def test_ids_are_distinct_and_hard_to_guess(harness: Harness) -> None:
    ids = {harness.connect().id for _ in range(100)}
    assert len(ids) == 100
    assert all(len(one) >= 12 for one in ids)


def test_request_as_filters_see_it(harness: Harness) -> None:
    client = harness.connect(
        "/a%20b?x=1&x=2&y=%C3%BC",
        headers={"Cookie": "a=1; b=2", "User-Agent": "test", "X-Two": "1"},
        address="192.0.2.7",
    )
    request = client.request
    assert (request.path, request.address, client.path, client.address) == ("/a b", "192.0.2.7", "/a b", "192.0.2.7")
    assert request.query == {"x": "1", "y": "ü"}
    assert request.cookies == {"a": "1", "b": "2"}
    assert request.headers["user-agent"] == "test"
    assert harness.connect("/?" + "&".join(f"a{number}" for number in range(101))).request.query == {}


def test_cookies_that_are_not_utf_8_are_read() -> None:
    """Fault: they raised, so that any client could cause a 500 and a traceback where a filter uses cookies."""
    head = HeadReader().feed(b"GET / HTTP/1.1\r\nHost: a\r\nCookie: a=1; \xf4b=2; c=\xc3\xbc\x80\r\n\r\n")
    assert head is not None
    assert Request(head, {}, "").cookies == {"a": "1", "\ufffdb": "2", "c": "ü\ufffd"}


def test_time_is_readable(harness: Harness) -> None:
    assert harness.connect().time() == "2026-01-02T03:04:05.000Z"

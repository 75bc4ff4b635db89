"""Commands over plain HTTP: their bodies, and the order in which a client gets them. tests/hostile has the requests."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gevent
import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fws.server.emulation import MOST_CHARACTERS, MOST_WAITING, PATIENCE, Emulated, Emulation
from tests.support import Harness, build


def test_lines_in_a_text_and_one_command() -> None:
    assert Emulated.parse(b'{"session":"s","node":"n","data":"{}\\n{}"}') == Emulated("s", "{}\n{}", "n")
    assert Emulated.parse(b'{"session":"s","data":{"id":1,"ping":{}},"more":[1]}') == Emulated(
        "s", '{"id":1,"ping":{}}'
    )


@settings(deadline=None)
@given(
    st.binary() | st.dictionaries(st.sampled_from(["session", "node", "data"]), st.text() | st.integers() | st.none())
)
def test_any_other_body_is_a_value_error(body: Any) -> None:
    data = body if isinstance(body, bytes) else msgspec.json.encode(body)
    try:
        found = Emulated.parse(data)
    except ValueError:
        return
    assert 1 <= len(found.session) <= 100
    assert isinstance(found.data, str)


@pytest.mark.parametrize(
    "body",
    [
        b'{"session":"x","data":{"a":[' + b"[]," * 600_000 + b"0]}}",
        b'{"session":"x","data":"","more":[' + b"[]," * 600_000 + b"0]}",
        b'{"session":"x","data":{"a":' + b"[" * 2_000_000,
        b'{"session":"x","data":"' + b"[{" * 900_000 + b'"}',
    ],
)
def test_a_hostile_body_takes_little_time(body: bytes) -> None:
    """Fault: lists in a command that was not in a text were decoded without limits, for half a second."""
    spent = []
    for _ in range(3):
        began = time.thread_time()
        try:
            Emulated.parse(body)
        except ValueError:
            pass
        spent.append(time.thread_time() - began)
    assert min(spent) < 0.05


# A client that is busy.


class Busy:
    """A client that is busy until a test goes on."""

    id = "ann"
    closing = False

    def __init__(self) -> None:
        self.busy = True
        self.heard: list[str] = []
        self.refusals: list[str] = []

    def hear(self, text: str) -> None:
        self.heard.append(text)

    def refuse(self, refusal: Any) -> None:
        self.refusals.append(refusal.reason)


class Posts:
    """Requests for one client, each in a greenlet of its own."""

    def __init__(self, harness: Harness) -> None:
        self.client = Busy()
        sessions: dict[str, Any] = harness.node.sessions
        sessions["s"] = self.client
        self.emulation = Emulation(harness.node)
        self.clock = harness.clock
        self._sent: list[gevent.Greenlet] = []

    def send(self, *texts: str) -> None:
        for text in texts:
            body = json.dumps({"session": "s", "data": text}).encode()
            self._sent.append(gevent.spawn(self.emulation.answer, body))
        gevent.sleep(0)

    def answers(self) -> list[int]:
        gevent.joinall(self._sent, timeout=10, raise_error=True)
        return [sent.value[0] for sent in self._sent]

    def stop(self) -> None:
        gevent.killall(self._sent)


@pytest.fixture
def posts(tmp_path: Path) -> Iterator[Posts]:
    posts = Posts(build('[endpoints."/"]\nprotocol = "centrifuge"', tmp_path))
    yield posts
    posts.stop()


def test_a_client_gets_commands_in_the_order_of_their_requests(posts: Posts) -> None:
    """Fault: each request looked for itself whether the client was busy, and any of them could be the next."""
    texts = [str(number) for number in range(50)]
    posts.send(*texts)
    assert posts.client.heard == []
    posts.client.busy = False
    posts.send("last")
    assert posts.answers() == [204] * 51
    assert posts.client.heard == [*texts, "last"]


def test_a_client_that_stays_busy_does_not_get_them(posts: Posts) -> None:
    posts.send("x", "y")
    posts.clock.advance(PATIENCE + 1)
    assert posts.answers() == [503, 503]
    assert posts.client.heard == []
    posts.client.busy = False
    posts.send("z")
    assert posts.answers() == [503, 503, 204]


@pytest.mark.parametrize(("texts", "size"), [(MOST_WAITING, 1), (4, MOST_CHARACTERS // 4)])
def test_waiting_commands_are_bounded(posts: Posts, texts: int, size: int) -> None:
    posts.send(*["x" * size] * texts, "too much")
    posts.client.busy = False
    assert posts.answers() == [204] * texts + [503]


def test_commands_from_another_node_are_not_lost_silently(posts: Posts) -> None:
    posts.send(*["x"] * MOST_WAITING)
    posts.emulation.told({"do": "commands", "session": "s", "data": "y"})
    assert posts.client.refusals == ["Too many commands wait."]

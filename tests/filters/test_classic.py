"""Filters of the older API in new pipelines."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gevent
import pytest

from fws.base.errors import ConfigError
from fws.classic.filters import base
from fws.classic.instance import shared_of
from fws.clients.client import Client
from tests.support import Harness, build

OLD = """
from fws import Close
from fws.classic.filters.base import WebSocketConsumerFilter, WebSocketDisconnectFilter, WebSocketMessageFilter

seen = []


class Mutating(WebSocketMessageFilter):
    @classmethod
    def filter(cls, web_socket_instance, data):
        data += b"!"


class Looking(WebSocketMessageFilter):
    @staticmethod
    def filter(web_socket_instance, data):
        seen.append(bytes(data))
        if data == b"raise!":
            raise LookupError("a bug")
        if data == b"close!":
            web_socket_instance.transport.loseConnection()
        if data == b"others!":
            for user in web_socket_instance.users.values():
                user.send(b"\\xff")
        if data == b"queue!":
            web_socket_instance.queue.append("queued")
        if data == b"away!":
            raise Close(1008, "go away")
        if data == b"count!":
            web_socket_instance.count = getattr(web_socket_instance, "count", 0) + 1
            seen.append(web_socket_instance.count)
        if data == b"store!":
            web_socket_instance.storage_object["red"].add(web_socket_instance.id)
            web_socket_instance.storage_object.publish("news", data)


class Leaving(WebSocketDisconnectFilter):
    @classmethod
    def filter(cls, web_socket_instance):
        peer = web_socket_instance.transport.getPeer()
        seen.append((web_socket_instance.id, peer.host))


class Consuming(WebSocketConsumerFilter):
    @classmethod
    def filter(cls, web_socket_instance, data):
        seen.append((sorted(web_socket_instance.users), data))
"""
CONF = """
[pipelines]
message = ["classic old_module", "echo"]
disconnect = ["classic old_module"]
publication = ["classic old_module"]
"""


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Harness]:
    (tmp_path / "old_module.py").write_text(OLD)
    monkeypatch.chdir(tmp_path)
    chains = (base.WebSocketMessageFilter, base.WebSocketDisconnectFilter, base.WebSocketConsumerFilter)
    before = [list(chain.chain) for chain in chains]
    monkeypatch.setattr(sys, "path", list(sys.path))
    yield build(CONF, tmp_path)
    for chain, members in zip(chains, before, strict=True):
        chain.chain[:] = members
    sys.modules.pop("old_module", None)


def says(server: Harness, client: Client, *messages: str | bytes) -> None:
    """Messages are handled one by one. These filters run in the client's greenlet, which pauses after a long turn."""
    for message in messages:
        server.client_says(client, message)
        until = time.monotonic() + 10
        while client.busy:
            assert time.monotonic() < until
            gevent.sleep(0.001)
            server.settle()


def seen() -> list[Any]:
    noted: list[Any] = sys.modules["old_module"].seen
    return noted


def test_the_next_filter_sees_the_changes_of_the_previous_one(server: Harness) -> None:
    client = server.connect()
    says(server, client, "grüße", b"\xfe")
    assert seen() == ["grüße!".encode(), b"\xfe!"]
    assert server.sent(client) == ["grüße!", b"\xfe!"]


def test_one_that_raises_ends_the_connection_as_it_did(server: Harness) -> None:
    client, other = server.connect(), server.connect()
    says(server, client, "raise")
    assert server.closed(client) == (1011, "a filter failed")
    assert server.sent(client) == []
    assert server.faults == 1
    says(server, other, "goes on")
    assert server.sent(other) == ["goes on!"]


def test_users_transport_and_queue(server: Harness) -> None:
    client, other = server.connect(), server.connect()
    says(server, client, "others", "queue")
    assert server.sent(other) == [b"\xff"]
    assert seen()[-1] == (sorted([client.id, other.id]), "queued")
    users = shared_of(server.generation.services).users
    assert set(users) == {client.id, other.id}
    assert users[client.id] is users[client.id]
    says(server, client, "close")
    assert server.closed(client) == (1000, "")
    server.leave(client)
    assert seen()[-1] == (client.id, "192.0.2.1")
    assert set(users) == {other.id}


def test_publications_run_through_the_consumer_chain(server: Harness) -> None:
    server.connect()
    server.channels.broadcast("published")
    server.settle()
    assert seen()[-1][1] == {"type": "message", "pattern": None, "channel": None, "data": b"published"}


def test_close_keeps_its_code(server: Harness) -> None:
    client = server.connect()
    says(server, client, "away")
    assert server.closed(client) == (1008, "go away")
    assert server.faults == 0


def test_filters_set_any_attribute_of_the_instance(server: Harness) -> None:
    """Filters of the older API have no `state` and set attributes."""
    client, other = server.connect(), server.connect()
    says(server, client, "count", "count")
    says(server, other, "count")
    assert [value for value in seen() if isinstance(value, int)] == [1, 2, 1]


def test_they_share_storage_and_channels_with_new_filters(server: Harness) -> None:
    client, other = server.connect(), server.connect()
    server.channels.join(other, "news")
    says(server, client, "store")
    server.settle()
    assert server.storage.members("red") == {client.id}
    assert server.sent(other) == [b"store!"]
    assert seen()[-1][1]["channel"] == b"news"


def test_a_client_that_leaves_does_not_break_a_loop_over_users(server: Harness) -> None:
    """Clients come and go while a filter blocks, for example on Redis."""
    first, second = server.connect(), server.connect()
    met = []
    for name, user in shared_of(server.generation.services).users.items():
        met.append((name, user.id))
        if len(met) == 1:
            server.leave(second)
    assert met == [(first.id, first.id), (second.id, second.id)]


def test_filters_of_other_modules_do_not_run(server: Harness, tmp_path: Path) -> None:
    (tmp_path / "other_module.py").write_text(OLD.replace('b"!"', 'b"?"'))
    both = build('[pipelines]\nmessage = ["classic other_module", "echo"]', tmp_path)
    client = both.connect()
    says(both, client, "x")
    assert both.sent(client) == ["x?"]
    sys.modules.pop("other_module")


@pytest.mark.parametrize(
    ("stage", "source", "sentence"),
    [
        ("classic no_such_module", "", "no_such_module"),
        ("classic faulty", "def f(:", "SyntaxError"),
        ("classic faulty", "import sys; sys.exit(3)", "SystemExit: 3"),
        ("classic faulty", "", "no filter for message is in faulty"),
        ("classic {room}", "", "placeholders are not allowed here"),
    ],
)
def test_an_invalid_module_is_a_problem_of_the_file(
    stage: str, source: str, sentence: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "faulty.py").write_text(source)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    try:
        with pytest.raises(ConfigError, match=sentence):
            build(f'[endpoints."/{{room}}"]\nmessage = ["{stage}"]', tmp_path)
    finally:
        sys.modules.pop("faulty", None)

"""Older filters in new pipelines."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from fws.classic.filters import base
from fws.classic.instance import shared_of
from tests.support import Harness, build

OLD = """
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


def seen() -> list[object]:
    return sys.modules["old_module"].seen


def test_what_one_filter_changes_the_next_sees_and_flows_on(server: Harness) -> None:
    client = server.connect()
    server.client_says(client, "grüße", b"\xfe")
    assert seen() == ["grüße!".encode(), b"\xfe!"]
    assert server.sent(client) == ["grüße!", b"\xfe!"]


def test_one_that_raises_ends_the_connection_as_it_did(server: Harness) -> None:
    client, other = server.connect(), server.connect()
    server.client_says(client, "raise")
    assert server.closed(client) == (1011, "a filter failed")
    assert server.sent(client) == []
    assert server.faults == 1
    server.client_says(other, "goes on")
    assert server.sent(other) == ["goes on!"]


def test_users_transport_and_queue(server: Harness) -> None:
    client, other = server.connect(), server.connect()
    server.client_says(client, "others", "queue")
    assert server.sent(other) == [b"\xff"]
    assert seen()[-1] == (sorted([client.id, other.id]), "queued")
    users = shared_of(server.hub).users
    assert set(users) == {client.id, other.id}
    assert users[client.id] is users[client.id]
    server.client_says(client, "close")
    assert server.closed(client) == (1000, "")
    server.leave(client)
    assert seen()[-1] == (client.id, "192.0.2.1")
    assert set(users) == {other.id}


def test_publications_run_through_the_consumer_chain(server: Harness) -> None:
    server.connect()
    server.hub.broadcast("published")
    server.settle()
    assert seen()[-1][1] == "published"


def test_filters_of_other_modules_do_not_run(server: Harness, tmp_path: Path) -> None:
    (tmp_path / "other_module.py").write_text(OLD.replace('b"!"', 'b"?"'))
    both = build('[pipelines]\nmessage = ["classic other_module", "echo"]', tmp_path)
    client = both.connect()
    both.client_says(client, "x")
    assert both.sent(client) == ["x?"]
    sys.modules.pop("other_module")


def test_a_module_that_is_not_there_is_a_problem_of_the_file(tmp_path: Path) -> None:
    from fws.errors import ConfigError

    with pytest.raises(ConfigError, match="no_such_module"):
        build('[pipelines]\nmessage = ["classic no_such_module"]', tmp_path)

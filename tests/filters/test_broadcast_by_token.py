from __future__ import annotations

from pathlib import Path

import pytest

from fws.base.errors import StorageError
from fws.storages.memory import MemoryStorage
from tests.support import Harness, build


@pytest.fixture
def server(tmp_path: Path) -> Harness:
    return build('[pipelines]\nmessage = ["broadcast_by_token"]', tmp_path)


def test_messages_go_to_the_group_only(server: Harness) -> None:
    ann, bob, eve = (server.connect() for _ in range(3))
    server.client_says(ann, "token:red")
    server.client_says(bob, "token: red ")
    server.client_says(eve, "token:blue", "among us")
    server.client_says(ann, "hello")
    assert [server.sent(one) for one in (ann, bob, eve)] == [["hello"], ["hello"], ["among us"]]


def test_without_a_group_nothing_is_sent(server: Harness) -> None:
    client, other = server.connect(), server.connect()
    server.client_says(client, "hello", "token:", f"token:{'x' * 300}", "hello")
    assert (server.sent(client), server.sent(other)) == ([], [])
    assert server.faults == 0


def test_others_find_the_groups_in_the_storage_until_they_leave(server: Harness) -> None:
    ann, bob = server.connect(), server.connect()
    server.client_says(ann, "token:red")
    server.client_says(bob, "token:red")
    assert server.storage.members("token:red") == {ann.id, bob.id}
    server.client_says(ann, "token:blue")
    assert server.storage.members("token:red") == {bob.id}
    server.leave(ann)
    server.leave(bob)
    assert server.storage.members("token:red") == server.storage.members("token:blue") == set()
    assert server.hub.channels() == []


def test_a_storage_that_fails_leaves_the_client_where_it_was(server: Harness) -> None:
    client = server.connect()
    server.client_says(client, "token:red")
    server.storage.set("token:blue", "no set")
    server.client_says(client, "token:blue", "hello")
    assert server.sent(client) == ["hello"]
    assert client.channels == {"token:red"}
    assert server.metrics["storage_faults"] == 1


class Away(MemoryStorage):
    """A storage that fails while `away` is set."""

    away = False

    def add(self, key: str, *members: str, expire: float | None = None) -> int:
        added = super().add(key, *members, expire=expire)
        self._fail()
        return added

    def remove(self, key: str, *members: str) -> int:
        self._fail()
        return super().remove(key, *members)

    def _fail(self) -> None:
        if self.away:
            raise StorageError("away", logged=True)


def test_ids_that_may_be_in_the_storage_are_removed_at_the_end(server: Harness) -> None:
    """Fault: an id stayed permanently if adding it or leaving the last group had failed."""
    storage = server.generation.services.storage = Away(server.clock)
    client = server.connect()
    server.client_says(client, "token:red")
    storage.away = True
    server.client_says(client, "token:blue", "token:green")
    assert storage.members("token:blue") == {client.id}
    assert client.channels == {"token:red"}
    storage.away = False
    server.leave(client)
    assert [storage.members(f"token:{name}") for name in ("red", "blue", "green")] == [set()] * 3


def test_a_storage_that_stays_away_does_not_make_a_client_grow(server: Harness) -> None:
    storage = server.generation.services.storage = Away(server.clock)
    client = server.connect()
    server.client_says(client, "token:red")
    storage.away = True
    server.client_says(client, *(f"token:{number}" for number in range(20)))
    assert len(storage._entries) == 2
    storage.away = False
    server.client_says(client, "token:blue", "hello")
    assert server.sent(client) == ["hello"]
    assert client.channels == {"token:blue"}
    assert list(storage._entries) == ["token:blue"]

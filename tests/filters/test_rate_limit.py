from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import gevent
import pytest

from fws.base.errors import ConfigError, Reject, StorageError
from fws.pipeline.storage import Taken
from fws.storages.memory import MemoryStorage
from tests.support import Harness, build


def echo(tmp_path: Path, stage: str) -> Harness:
    return build(f'[pipelines]\nmessage = ["{stage}", "echo"]', tmp_path)


def test_a_burst_passes_and_then_the_rate(tmp_path: Path) -> None:
    server = echo(tmp_path, "rate_limit 10/s burst=3")
    client = server.connect()
    server.client_says(client, "1", "2", "3", "4", "5")
    assert server.sent(client) == ["1", "2", "3"]
    assert server.metrics["events_over_rate"] == 2
    server.clock.advance(0.1)
    server.client_says(client, "6", "7")
    assert server.sent(client) == ["6"]
    server.clock.advance(3600)
    server.client_says(client, *"abcdef")
    assert server.sent(client) == ["a", "b", "c"]


def test_refused_events_cost_no_token(tmp_path: Path) -> None:
    server = echo(tmp_path, "rate_limit 1/s")
    client = server.connect()
    for _ in range(10):
        server.client_says(client, "x", "x", "x")
        server.clock.advance(1)
    assert server.sent(client) == ["x"] * 10


@pytest.mark.parametrize(("rate", "burst"), [("20/s", 20), ("2.5/s", 3), ("5/min", 1), ("0.1/h", 1)])
def test_the_default_burst_is_the_rate_per_second(tmp_path: Path, rate: str, burst: int) -> None:
    server = echo(tmp_path, f"rate_limit {rate}")
    client = server.connect()
    server.client_says(client, *["x"] * (burst + 5))
    assert len(server.sent(client)) == burst


def test_each_client_and_each_stage_has_a_bucket_of_its_own(tmp_path: Path) -> None:
    server = build('[pipelines]\nmessage = ["rate_limit 1/min burst=2", "echo", "rate_limit 1/min", "echo"]', tmp_path)
    client, other = server.connect(), server.connect()
    server.client_says(client, "a", "b", "c")
    server.client_says(other, "x")
    assert server.sent(client) == ["a", "a", "b"]
    assert server.sent(other) == ["x", "x"]


def test_by_address_clients_share_and_reconnecting_does_not_help(tmp_path: Path) -> None:
    server = echo(tmp_path, "rate_limit 1/min burst=2 by=address")
    first = server.connect(address="192.0.2.1")
    server.client_says(first, "1", "2", "3")
    server.leave(first)
    second, elsewhere = server.connect(address="192.0.2.1"), server.connect(address="192.0.2.2")
    server.client_says(second, "4")
    server.client_says(elsewhere, "5")
    assert server.sent(first) == ["1", "2"]
    assert server.sent(second) == []
    assert server.sent(elsewhere) == ["5"]


def test_an_excess_is_answered_or_closes(tmp_path: Path) -> None:
    server = echo(tmp_path, "rate_limit 1/s on_excess=reply")
    client = server.connect()
    server.client_says(client, "1", "2")
    assert server.sent(client) == ["1", '{"error":"too fast"}']
    server = echo(tmp_path, "rate_limit 1/s on_excess=close")
    client = server.connect()
    server.client_says(client, "1", "2")
    assert server.sent(client) == ["1"]
    assert server.closed(client) == (1008, "too fast")


def test_excess_bytes_close_the_connection_because_missing_bytes_corrupt_frames(tmp_path: Path) -> None:
    server = build('[pipelines]\ndata = ["rate_limit 1/s burst=2"]\nmessage = ["echo"]', tmp_path)
    client = server.connect()
    server.client_says(client, "1", "2", "3")
    assert server.sent(client) == ["1", "2"]
    assert server.closed(client) == (1008, "too fast")


def test_connections_are_limited_by_address_with_retry_after(tmp_path: Path) -> None:
    server = build('[pipelines]\nconnect = ["rate_limit 6/min burst=2 by=address"]', tmp_path)
    server.connect()
    server.connect()
    with pytest.raises(Reject) as refused:
        server.connect()
    assert refused.value.status == 429
    assert refused.value.headers == (("Retry-After", "10"),)
    server.clock.advance(10)
    server.connect()


def test_nothing_of_it_can_be_read_as_state(tmp_path: Path) -> None:
    server = echo(tmp_path, "rate_limit 1/s")
    client = server.connect()
    server.client_says(client, "1")
    assert not [key for key in client.state if isinstance(key, str)]


@pytest.mark.parametrize("stage", ["rate_limit", "rate_limit 20", "rate_limit 0/s", "rate_limit 1/s burst=0"])
def test_a_limit_that_passes_nothing_or_everything_is_a_problem_of_the_file(tmp_path: Path, stage: str) -> None:
    with pytest.raises(ConfigError, match=r"rate|burst"):
        echo(tmp_path, stage)


# Whose bucket it is.


def test_by_user_all_clients_of_a_user_share(tmp_path: Path) -> None:
    server = echo(tmp_path, "rate_limit 1/min burst=2 by=user")
    ann, again = (server.connect(identity={"user": "ann"}, address=f"192.0.2.{n}") for n in (1, 2))
    bob = server.connect(identity={"user": "bob"}, address="192.0.2.1")
    server.client_says(ann, "1", "2")
    server.client_says(again, "3")
    server.client_says(bob, "4")
    assert (server.sent(ann), server.sent(again), server.sent(bob)) == (["1", "2"], [], ["4"])


@pytest.mark.parametrize("identity", [None, {}, {"user": ""}, {"user": ["ann"]}])
def test_without_a_user_the_address_counts(tmp_path: Path, identity: dict[str, object] | None) -> None:
    server = echo(tmp_path, "rate_limit 1/min by=user")
    here, there = (server.connect(identity=identity, address=f"192.0.2.{n}") for n in (1, 2))
    namesake = server.connect(identity={"user": "192.0.2.1"})
    for client in (here, there, namesake):
        server.client_says(client, "1", "2")
        assert server.sent(client) == ["1"], "and no user is named like an address"


def test_by_a_field_of_the_message_or_of_the_identity(tmp_path: Path) -> None:
    toml = '[endpoints."/a"]\nmessage = ["json", "rate_limit 1/min by={}", "echo"]'
    server = build(toml.format("message.room"), tmp_path)
    ann, bob = server.connect("/a"), server.connect("/a", address="192.0.2.2")
    server.client_says(ann, '{"room":"tea"}', '{"room":"tea"}', '{"room":5}', '{"room":5}', "{}", "{}")
    server.client_says(bob, '{"room":"tea"}', '{"room":""}', f'{{"room":"{"x" * 5000}"}}')
    assert server.sent(ann) == ['{"room":"tea"}', '{"room":5}', "{}"]
    assert len(server.sent(bob)) == 2
    server = build(toml.format("identity['team']"), tmp_path)
    ann, bob = (server.connect("/a", identity={"user": user, "team": "red"}) for user in ("ann", "bob"))
    server.client_says(ann, "1")
    server.client_says(bob, "2")
    assert (server.sent(ann), server.sent(bob)) == (["1"], [])


CHANNELS = """
[endpoints."/"]
protocol = "centrifuge"
message = ["rate_limit 1/min by=channel"]
[channels."{name}"]
publish = "client.id != null"
"""


def test_no_channel_has_the_bucket_of_an_address(tmp_path: Path) -> None:
    """Fault: whoever published to the channel `192.0.2.1` took the token of that address."""
    server = build(CHANNELS, tmp_path)
    ann, eve = server.connect("/", address="192.0.2.1"), server.connect("/", address="192.0.2.2")
    publish, rpc = '{"id":2,"publish":{"channel":"192.0.2.1","data":1}}', '{"id":2,"rpc":{"method":"m"}}'
    for client, call in ((eve, publish), (ann, rpc)):
        server.client_says(client, '{"id":1,"connect":{}}', call)
        assert "too fast" not in str(server.sent(client)[-1])
    server.client_says(ann, rpc)
    assert "too fast" in str(server.sent(ann)[-1]), "the address has a bucket"


@pytest.mark.parametrize(
    ("toml", "problem"),
    [
        ('message = ["rate_limit 1/s by=adress"]', "did you mean 'address'"),
        ('message = ["rate_limit 1/s by=room"]', "message.room"),
        ('connect = ["rate_limit 1/s by=message.room"]', "there is no 'message' on connect"),
        ('connect = ["rate_limit 1/s by=channel"]', "there is no channel on connect"),
        ('message = ["rate_limit 1/s store=shared"]', "a client is on one node"),
        ('message = ["rate_limit 1/s away=pass"]', "store=shared"),
        ('message = ["rate_limit 1/s by=user store=redis"]', "own, shared"),
    ],
)
def test_a_subject_that_does_not_exist_is_a_problem_of_the_file(tmp_path: Path, toml: str, problem: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(problem)):
        build(f"[pipelines]\n{toml}", tmp_path)


# Buckets that all nodes share.

SHARED = "rate_limit 10/s burst=10 by=user store=shared on_excess=reply"


class Away(MemoryStorage):
    """A storage that can be away, takes its time, and counts how often it is asked for tokens."""

    def __init__(self, clock: Callable[[], float]) -> None:
        super().__init__(clock)
        self.away = False
        self.slow = False
        self.asked = 0

    def take(self, key: str, count: int, rate: float, burst: int) -> Taken:
        self.asked += 1
        if self.slow:
            gevent.sleep(0.02)
        if self.away:
            raise StorageError("the storage cannot be asked", logged=True)
        return super().take(key, count, rate, burst)


def shared(tmp_path: Path, stage: str) -> tuple[Harness, Away]:
    server = echo(tmp_path, stage)
    storage = Away(server.clock)
    server.generation.services.storage = storage
    return server, storage


def test_stages_and_nodes_share_buckets_of_the_storage(tmp_path: Path) -> None:
    nodes = [echo(tmp_path, SHARED) for _ in range(2)]
    nodes[1].generation.services.storage = nodes[0].storage
    clients = [node.connect(identity={"user": "ann"}) for node in nodes]
    for _ in range(6):
        for node, client in zip(nodes, clients, strict=True):
            node.client_says(client, "x")
    passed = [node.sent(client).count("x") for node, client in zip(nodes, clients, strict=True)]
    assert sum(passed) == 10
    assert min(passed) >= 4
    other = nodes[1].connect(identity={"user": "bob"})
    nodes[1].client_says(other, "y")
    assert nodes[1].sent(other) == ["y"]
    nodes[0].clock.advance(60)
    nodes[0].storage.set("any", "change")
    assert nodes[0].storage.get("limit:user:10:10:=ann") is None, "the key has expired"


@pytest.mark.parametrize("user", ["u" * 100, "\U0001f600" * 100, "\ud800", "a\nb", "ü:=*"])
def test_any_user_has_a_shared_bucket(tmp_path: Path, user: str) -> None:
    server = echo(tmp_path, f"rate_limit 1/min by=identity['user'] store=shared key={'k' * 500}")
    client = server.connect(identity={"user": user})
    server.client_says(client, "1", "2")
    assert server.sent(client) == ["1"]
    assert server.faults == 0


def test_a_connection_above_a_shared_rate_is_refused_with_retry_after(tmp_path: Path) -> None:
    server = build('[pipelines]\nconnect = ["rate_limit 6/min by=address store=shared"]', tmp_path)
    server.connect()
    with pytest.raises(Reject) as refused:
        server.connect()
    assert (refused.value.status, refused.value.headers) == (429, (("Retry-After", "10"),))


def test_messages_that_arrive_together_ask_the_storage_together(tmp_path: Path) -> None:
    server, storage = shared(tmp_path, "rate_limit 100/s burst=100 by=user store=shared")
    storage.slow = True
    server.patience = 5.0
    clients = [server.connect(identity={"user": "ann"}) for _ in range(50)]
    for client in clients:
        server.peers[client].arrive(server.peers[client].frame("x"))
    server.settle()
    assert [server.sent(client) for client in clients] == [["x"]] * 50
    assert storage.asked == 2, "once for the first, and once for all who waited meanwhile"


@pytest.mark.parametrize(("away", "passed"), [("own", 10), ("pass", 15), ("refuse", 0)])
def test_while_the_storage_is_away_an_option_decides(tmp_path: Path, away: str, passed: int) -> None:
    server, storage = shared(tmp_path, f"{SHARED} away={away}")
    storage.away = True
    client = server.connect(identity={"user": "ann"})
    server.client_says(client, *["x"] * 15)
    sent = server.sent(client)
    assert (sent.count("x"), len(sent)) == (passed, 15)
    assert storage.asked == 1, "one message waits for a storage that is away, and not each"
    assert server.metrics["limits_alone"] == 15
    assert server.metrics["storage_faults"] == 1
    storage.away = False
    server.clock.advance(2)
    server.client_says(client, *["y"] * 15)
    assert server.sent(client).count("y") == 10


def test_a_key_of_another_kind_is_no_outage(tmp_path: Path) -> None:
    server, storage = shared(tmp_path, SHARED)
    storage.add("limit:user:10:10:=ann", "somebody's set")
    ann, bob = (server.connect(identity={"user": user}) for user in ("ann", "bob"))
    server.client_says(ann, "1")
    server.client_says(bob, "2")
    assert (server.sent(ann), server.sent(bob)) == (["1"], ["2"])
    assert storage.asked == 2


def test_a_greenlet_that_is_killed_while_it_asks_keeps_nobody_waiting(tmp_path: Path) -> None:
    server, storage = shared(tmp_path, SHARED)
    storage.slow = True
    hook = server.generation.default.message.steps[0].hook  # type: ignore[union-attr]
    client = server.connect(identity={"user": "ann"})
    first, second = gevent.spawn(hook, client, "x"), gevent.spawn(hook, client, "x")
    gevent.sleep(0.01)
    first.kill()
    second.join(5)
    assert second.successful()
    assert storage.asked == 2

"""What waits is kept in a real Redis, and delivered by another process if its own one ends."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fws.journals.redis import RedisJournal
from fws.redis.connector import Connector
from fws.storages.redis import RedisStorage
from fws.webhooks.courier import FAILURES, PAUSE
from fws.webhooks.keeper import LOOK
from tests.integration.redis_server import RedisServer
from tests.support import Harness, build
from tests.webhooks.receiver import Receiver, receiving

MOMENT = 1.0


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    server = RedisServer(tmp_path_factory.mktemp("redis"))
    yield server
    server.kill()


@pytest.fixture
def redis(running: RedisServer) -> RedisServer:
    running.say("FLUSHALL")
    return running


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as receiver:
        yield receiver


def node(tmp_path: Path, redis: RedisServer, receiver: Receiver, options: str = "") -> Harness:
    """A node whose webhooks are kept in Redis."""
    server = build(f'[pipelines]\nmessage = ["webhook {receiver.url} {options}"]', tmp_path)
    services = server.generation.services
    storage = RedisStorage(Connector(redis.url), "fws:")
    services.storage, services.journal = storage, RedisJournal(storage)
    server.generation.start()
    server.pass_time(MOMENT)
    return server


def say(server: Harness, *messages: str) -> None:
    server.client_says(server.connect(), *messages)
    server.settle()


def dead(redis: RedisServer) -> None:
    """The leases of processes that were killed expire."""
    for lease in redis.say("KEYS", "fws:*:lease"):
        redis.say("DEL", lease)


def kept(redis: RedisServer) -> int:
    """The number of events in all streams."""
    streams = [key for key in redis.say("KEYS", "fws:webhook:*:*") if not key.endswith(b":lease")]
    return sum(redis.say("XLEN", stream) for stream in streams)


def test_what_waits_at_the_end_is_delivered_by_the_next_process(
    tmp_path: Path, redis: RedisServer, receiver: Receiver
) -> None:
    receiver.answers = [500]
    server = node(tmp_path, redis, receiver)
    say(server, "one", "two", "three")
    assert kept(redis) == 3
    assert server.generation.stop() == []
    assert server.counted("webhooks_") == {"retried": 1}
    first = receiver.requests[0]
    following = node(tmp_path, redis, receiver)
    following.settle()
    assert receiver.messages == ["one", "one", "two", "three"]
    assert receiver.requests[1].body == first.body
    assert following.counted("webhooks_") == {"delivered": 3}
    following.pass_time(LOOK)
    assert redis.say("KEYS", "*") == [], "nothing is left behind"


def test_what_a_killed_process_had_is_delivered_when_its_lease_has_expired(
    tmp_path: Path, redis: RedisServer, receiver: Receiver
) -> None:
    receiver.answers = [500] * 2
    here, there = node(tmp_path, redis, receiver), node(tmp_path, redis, receiver)
    say(here, "one", "two")
    say(there, "elsewhere")
    there.pass_time(LOOK)
    assert sorted(receiver.messages) == ["elsewhere", "elsewhere", "one"], "the lease of the other one is respected"
    dead(redis)
    there.pass_time(LOOK)
    there.settle()
    assert receiver.messages[3:] == ["one", "two"]


def test_events_that_were_delivered_are_not_kept(tmp_path: Path, redis: RedisServer, receiver: Receiver) -> None:
    server = node(tmp_path, redis, receiver)
    say(server, *map(str, range(50)))
    assert receiver.messages == list(map(str, range(50)))
    assert kept(redis) == 0
    server.generation.stop()
    assert redis.say("KEYS", "*") == []


def test_what_is_given_up_is_not_kept(tmp_path: Path, redis: RedisServer, receiver: Receiver) -> None:
    receiver.answers = [400]
    server = node(tmp_path, redis, receiver)
    say(server, "one")
    server.settle()
    assert (kept(redis), server.counted("webhooks_")) == (0, {"failed": 1})


def test_a_process_that_hung_goes_on_and_nothing_is_lost(
    tmp_path: Path, redis: RedisServer, receiver: Receiver
) -> None:
    """Another one has taken over its log. What waits may arrive twice, and what happens from then on is kept."""
    receiver.answers = [500] * 2
    here, there = node(tmp_path, redis, receiver), node(tmp_path, redis, receiver)
    say(here, "one", "two")
    dead(redis)
    there.pass_time(LOOK)
    there.settle()
    assert receiver.messages == ["one", "one"], "the other one has tried, too"
    receiver.answers = [500] * 20
    here.pass_time(LOOK)
    say(here, "three")
    assert kept(redis) == 3
    receiver.answers = []
    for server in (here, there):
        for _ in range(2):
            server.pass_time(PAUSE)
            server.settle()
    assert set(receiver.messages) == {"one", "two", "three"}
    assert len({event["id"] for event in receiver.events}) == 3
    assert kept(redis) == 0


def test_while_redis_is_away_events_are_delivered_and_kept_later(
    tmp_path: Path, receiver: Receiver, redis: RedisServer
) -> None:
    server = node(tmp_path, redis, receiver)
    redis.kill()
    say(server, "one")
    assert receiver.messages == ["one"]
    receiver.answers = [500] * 2
    say(server, "two")
    assert server.metrics["webhooks_unkept"] >= 1
    redis.start()
    server.pass_time(1)
    server.settle()
    assert kept(redis) == 1
    server.pass_time(2)
    server.settle()
    assert receiver.messages == ["one", "two", "two", "two"]
    assert kept(redis) == 0


def test_an_event_that_is_larger_than_the_new_bound_does_not_hold_up_others(
    tmp_path: Path, redis: RedisServer, receiver: Receiver
) -> None:
    receiver.answers = [500]
    server = node(tmp_path, redis, receiver)
    say(server, "x" * 1000, "two")
    server.generation.stop()
    following = node(tmp_path, redis, receiver, "most_bytes=500B most=1")
    for _ in range(3):
        following.pass_time(LOOK)
        following.settle()
    assert receiver.messages[1:] == ["x" * 1000, "two"]


def test_what_others_write_to_a_log_is_counted_and_not_sent(
    tmp_path: Path, redis: RedisServer, receiver: Receiver
) -> None:
    receiver.answers = [500]
    server = node(tmp_path, redis, receiver)
    say(server, "one")
    server.generation.stop()
    [stream] = redis.say("KEYS", "fws:webhook:*:*")
    event = b'{"id":"x","type":"t","timestamp":"","data":{}}'
    for number, item in enumerate(
        (
            b"",
            b"[]",
            b'{"id":"a.b","lane":"","at":0,"event":' + event.replace(b'"x"', b'"a.b"') + b"}",
            b'{"id":"y","lane":"","at":0,"event":' + event + b"}",
            b'{"id":"x","lane":"","at":0,"event":[1]}',
            b"\xff",
        )
    ):
        redis.say("XADD", stream, f"{100 + number}-0", "item", item)
    redis.say("XADD", stream, "200-7", "other", "x")
    redis.say("SADD", stream.rpartition(b":")[0], "elsewhere", "\xff")
    following = node(tmp_path, redis, receiver)
    following.settle()
    assert receiver.messages == ["one", "one"]
    assert following.metrics["redis_malformed"] == 7
    following.pass_time(LOOK)
    assert not redis.say("EXISTS", stream)


def test_more_than_fits_is_taken_over_little_by_little(tmp_path: Path, redis: RedisServer, receiver: Receiver) -> None:
    receiver.answers = [500] * FAILURES
    server = node(tmp_path, redis, receiver, "order=none")
    say(server, *map(str, range(40)))
    server.generation.stop()
    del receiver.requests[:]
    following = node(tmp_path, redis, receiver, "most=8")
    for _ in range(12):
        following.pass_time(LOOK)
        following.settle()
    assert sorted(map(int, receiver.messages)) == list(range(40))
    assert following.metrics["webhooks_dropped"] == 0


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("say"), st.integers(1, 4)),
        st.tuples(st.just("fail"), st.integers(1, 8)),
        st.tuples(st.just("wait"), st.sampled_from([1.0, LOOK, PAUSE])),
        st.tuples(st.sampled_from(["end", "crash"]), st.none()),
    ),
    max_size=12,
)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=STEPS, batch=st.integers(1, 3))
def test_whatever_fails_each_event_arrives_at_least_once_and_those_of_a_client_in_order(
    tmp_path: Path, redis: RedisServer, steps: list[tuple[str, Any]], batch: int
) -> None:
    with receiving() as receiver:
        options = f"batch={batch} wait=1s age=30d tries=1000"
        server = node(tmp_path, redis, receiver, options)
        client, said = server.connect(), 0
        for step, value in steps:
            if step == "say":
                if client.closing:  # it has not answered pings for too long
                    client = server.connect()
                server.client_says(client, *(f"{said + number}" for number in range(value)))
                server.settle()
                said += value
            elif step == "fail":
                receiver.answers += [500] * value
            elif step == "wait":
                server.pass_time(value)
                server.settle()
            else:
                if step == "end":
                    server.generation.stop()
                else:
                    dead(redis)
                server = node(tmp_path, redis, receiver, options)
                client = server.connect()
        receiver.answers = []
        for _ in range(60):
            server.pass_time(PAUSE)
            server.settle()
            if not kept(redis):
                break
        first = list(dict.fromkeys(int(message) for message in receiver.messages))
        assert sorted(first) == list(range(said))
        clients = {event["data"]["message"]: event["data"]["client"] for event in receiver.events}
        for one in set(clients.values()):
            own = [number for number in first if clients[str(number)] == one]
            assert own == sorted(own)
        assert server.metrics["webhooks_dropped"] == 0
        redis.say("FLUSHALL")

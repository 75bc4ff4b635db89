"""The filter `redis`, with a Redis of its own."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from fws.base.errors import ConfigError, Reject
from fws.pipeline.publication import Publication
from fws.redis.connector import Connector
from fws.storages.redis import RedisStorage
from tests.integration.redis_server import RedisServer
from tests.support import Harness, build

Start = Callable[[str], Harness]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    server = RedisServer(tmp_path_factory.mktemp("redis"))
    yield server
    server.kill()


@pytest.fixture
def redis(server: RedisServer) -> RedisServer:
    server.say("FLUSHALL")
    return server


@pytest.fixture
def start(redis: RedisServer, tmp_path: Path) -> Start:
    """A server without a network, whose storage is in Redis."""

    def start(toml: str) -> Harness:
        harness = build(f'[redis]\nurl = "{redis.url}"\n{toml}', tmp_path)
        harness.generation.services.storage = RedisStorage(Connector(redis.url), "fws:")
        return harness

    return start


def message(*stages: str) -> str:
    return f"[pipelines]\nmessage = {['json', *stages, 'echo']!r}"


def test_fields_of_messages_are_counted_where_other_applications_look(start: Start, redis: RedisServer) -> None:
    server = start(message("redis HINCRBY scores {message.player} {message.points} into=total"))
    client = server.connect()
    server.client_says(client, '{"player":"ann","points":7}', '{"player":"ann","points":-2}')
    assert redis.say("HGETALL", "scores") == {b"ann": b"5"}
    assert server.sent(client) == [
        '{"player":"ann","points":7,"total":7}',
        '{"player":"ann","points":-2,"total":5}',
    ]


@pytest.mark.parametrize(
    ("stage", "asked", "found"),
    [
        ("redis SET last:{client.address}", "GET last:192.0.2.1", b'{"n":2}'),
        ("redis SET last {message.s}", "GET last", b"x"),
        ("redis LPUSH jobs", "LRANGE jobs 0 -1", [b'{"n":2}', b'{"n":1,"s":"x"}']),
        ("redis RPUSH jobs limit=1", "LRANGE jobs 0 -1", [b'{"n":2}']),
        ("redis LPUSH jobs limit=1", "LRANGE jobs 0 -1", [b'{"n":2}']),
        ("redis HSET profiles {message.n}", "HGET profiles 2", b'{"n":2}'),
        ("redis HSET m a {message.n} b 5", "HGETALL m", {b"a": b"2", b"b": b"5"}),
        ("redis HDEL m {message.n}", "EXISTS m", 0),
        ("redis SADD seen {message.n}", "SCARD seen", 2),
        ("redis SREM seen x", "EXISTS seen", 0),
        ("redis ZADD best {message.n} ann", "ZSCORE best ann", 2.0),
        ("redis ZINCRBY best 1.5 ann", "ZSCORE best ann", 3.0),
        ("redis ZREM best", "EXISTS best", 0),
        ("redis INCR n", "GET n", b"2"),
        ("redis incrby n {message.n}", "GET n", b"3"),
        ("redis DEL n", "EXISTS n", 0),
        ("redis EXPIRE n 60", "EXISTS n", 0),
    ],
)
def test_every_command(start: Start, redis: RedisServer, stage: str, asked: str, found: Any) -> None:
    server = start(message(stage))
    client = server.connect()
    server.client_says(client, '{"n":1,"s":"x"}', '{"n":2}')
    assert redis.say(*asked.split()) == found
    assert server.faults == 0


def test_a_stream(start: Start, redis: RedisServer) -> None:
    server = start(message("redis XADD log message limit=2 into=id", "redis XADD fields who {message.n} kind a"))
    client = server.connect()
    for _ in range(400):
        server.client_says(client, '{"n":1}')
    (entry,) = redis.say("XREVRANGE", "log", "+", "-", "COUNT", 1)
    assert entry[1] == {b"message": b'{"n":1}'} or entry[1] == [b"message", b'{"n":1}']
    assert f'"id":"{entry[0].decode()}"' in str(server.sent(client)[-1])
    assert redis.say("XLEN", "log") < 400, "Redis trims in steps"
    assert redis.say("XLEN", "fields") == 400
    (entry,) = redis.say("XREVRANGE", "fields", "+", "-", "COUNT", 1)
    assert b"who" in entry[1]


def test_a_key_expires(start: Start, redis: RedisServer) -> None:
    server = start(message("redis LPUSH jobs expire=1min", "redis SET v x expire=1h"))
    server.client_says(server.connect(), "1")
    assert 0 < redis.say("TTL", "jobs") <= 60
    assert 60 < redis.say("TTL", "v") <= 3600


def test_who_is_online(start: Start, redis: RedisServer) -> None:
    stages = [f"redis {command} online {{identity.user}}" for command in ("SADD", "SREM")]
    server = start(f"[pipelines]\nconnect = {stages[:1]!r}\ndisconnect = {stages[1:]!r}")
    ann = server.connect(identity={"user": "ann"})
    server.connect(identity={"user": "bob"})
    assert set(redis.say("SMEMBERS", "online")) == {b"ann", b"bob"}
    server.leave(ann)
    assert set(redis.say("SMEMBERS", "online")) == {b"bob"}


def test_what_was_published_on_this_node_is_given_once(start: Start, redis: RedisServer) -> None:
    server = start('[pipelines]\npublication = ["redis LPUSH said"]')
    hook = server.generation.publication.steps[0].hook
    for origin in ("here", "node", "outside"):
        publication: Any = Publication("lobby", {"from": origin}, None)
        hook(publication.replace(origin=origin))
    assert redis.say("LRANGE", "said", 0, -1) == [b'{"from":"here"}']


def test_on_a_tick_and_with_messages_of_other_kinds(start: Start, redis: RedisServer) -> None:
    server = start(
        '[pipelines]\nmessage = ["redis LPUSH said into=n", "echo"]\n'
        '[schedules.a]\nevery = "1h"\nrun = ["redis LPUSH said into=n"]'
    )
    assert server.generation.schedules["a"].steps[0].hook({"due": 1}) == {"due": 1, "n": 1}
    client = server.connect()
    server.client_says(client, "text", b"\xff")
    assert redis.say("LRANGE", "said", 0, -1) == [b"\xff", b"text", b'{"due":1}']
    assert server.sent(client) == ["text", b"\xff"]


@pytest.mark.parametrize("said", ['{"points":1}', '{"player":"ann"}', '{"player":"ann","points":"many"}', "5", "[]"])
def test_a_message_without_the_fields_is_dropped_and_is_no_fault(
    start: Start, redis: RedisServer, said: str, caplog: pytest.LogCaptureFixture
) -> None:
    server = start(message("redis HINCRBY scores {message.player} {message.points}"))
    client = server.connect()
    server.client_says(client, said)
    assert server.sent(client) == []
    assert (server.faults, server.metrics["messages_unfilled"]) == (0, 1)
    assert caplog.records == []
    assert redis.say("DBSIZE") == 0


def test_a_value_that_no_storage_accepts_is_dropped(start: Start, redis: RedisServer) -> None:
    server = start('[endpoints."/{a}/{b}/{c}"]\nmessage = ["redis SET x:{a}{b}{c}", "echo"]')
    client = server.connect("/" + "/".join(["r" * 200] * 3))
    server.client_says(client, "x")
    assert server.sent(client) == []
    assert server.faults == 0
    server = start('[endpoints."/{a}/{b}/{c}"]\nconnect = ["redis SET x:{a}{b}{c} 1"]')
    with pytest.raises(Reject) as refused:
        server.connect("/" + "/".join(["r" * 200] * 3))
    assert refused.value.status == 400
    assert redis.say("DBSIZE") == 0


def test_a_key_of_another_kind_ends_the_event_and_stays(start: Start, redis: RedisServer) -> None:
    """The expiry that is set in the same step must not delete another application's data."""
    redis.say("SET", "jobs", "somebody's")
    server = start(message("redis LPUSH jobs expire=1s"))
    client = server.connect()
    server.client_says(client, "1")
    assert server.sent(client) == []
    assert (server.metrics["storage_faults"], server.metrics["messages_unfilled"], server.faults) == (0, 1, 0)
    assert (redis.say("GET", "jobs"), redis.say("TTL", "jobs")) == (b"somebody's", -1)


@pytest.mark.parametrize(
    ("stage", "before", "said"),
    [
        ("redis HINCRBY n:{message.k} a {message.by}", "", "overflow"),
        ("redis INCRBY n:{message.k} {message.by}", "", "overflow"),
        ("redis HINCRBY n:{message.k} a {message.by}", "SET n:0 x", "holds another kind of value"),
        ("redis INCR n:{message.k}", "SET n:0 x", "not an integer"),
    ],
)
def test_data_that_does_not_suit_is_no_fault_of_the_storage(
    start: Start, redis: RedisServer, caplog: pytest.LogCaptureFixture, stage: str, before: str, said: str
) -> None:
    """Fault: a client's overflow counted as a fault of the storage, and each was logged with the SHA of our script."""
    if before:
        redis.say(*before.split())
    server = start(message(stage))
    client = server.connect()
    server.client_says(client, *[f'{{"k":{key},"by":9223372036854775807}}' for key in (0, 0, 0, 1, 1, 2, 2)])
    assert (server.metrics["storage_faults"], server.faults) == (0, 0)
    assert server.metrics["messages_unfilled"] == 7 - len(server.sent(client)) > 0
    (record,) = caplog.records
    assert "'n:0'" in record.message
    assert said in record.message
    assert "script" not in record.message


@pytest.mark.parametrize(
    ("stage", "problem"),
    [
        ("redis HINCBY scores a 1", "did you mean 'HINCRBY'"),
        ("redis FLUSHALL x", "no command 'FLUSHALL'"),
        ("redis {message.command} scores a 1", "takes no placeholders"),
        ("redis HINCRBY scores {message.a}", "write HINCRBY KEY FIELD BY, not 1 argument"),
        ("redis HINCRBY scores {message.a} many", "by of HINCRBY must be a whole number, not 'many'"),
        ("redis SADD s a limit=5", "limit is for LPUSH"),
        ("redis DEL s expire=1s", "keeps nothing"),
        ("redis SET s into=a", "into is for"),
        ("redis SET {message.key} 1", "begin {message.key} with a name and a colon of your own"),
        ("redis SET score{message.key} 1", "a name and a colon"),
        ("redis SET fws:{message.key} 1", "a client could choose any key of fws"),
        ("redis LPUSH jobs limit=0", "at least 1"),
    ],
)
def test_a_stage_that_cannot_be_is_a_problem_of_the_file(tmp_path: Path, stage: str, problem: str) -> None:
    with pytest.raises(ConfigError) as caught:
        build(f'[redis]\nurl = "redis://localhost"\n[pipelines]\nmessage = ["json", "{stage}"]', tmp_path)
    assert problem in str(caught.value)


@pytest.mark.parametrize(
    ("toml", "problem"),
    [
        ('message = ["redis INCR n"]', "there is no Redis"),
        ('message = ["echo"]\n[schedules.a]\nevery = "1h"\nrun = ["redis INCR n"]', "there is no Redis"),
        ('publication = ["redis INCR n"]', "there is no Redis"),
        ('connect = ["redis SADD online"]', "nothing flows on connect: write SADD KEY, or SADD KEY MEMBER"),
        ('connect = ["redis INCR n into=a"]', "into is for message"),
    ],
)
def test_it_needs_a_redis_and_a_value(tmp_path: Path, toml: str, problem: str) -> None:
    with pytest.raises(ConfigError) as caught:
        build(f"[pipelines]\n{toml}", tmp_path)
    assert problem in str(caught.value)


def test_without_redis_a_test_shows_what_would_be_given(tmp_path: Path) -> None:
    server = build('[redis]\nurl = "redis://localhost"\n[pipelines]\nmessage = ["redis SADD seen a into=n"]', tmp_path)
    instance = server.generation.filters[0]
    server.client_says(server.connect(), "x")
    assert instance.explain(SimpleNamespace(), "x", None) == "SADD seen a"
    assert server.faults == 0

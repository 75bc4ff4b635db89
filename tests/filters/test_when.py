from __future__ import annotations

from pathlib import Path

import pytest

from fws.base.errors import ConfigError
from tests.support import build


def test_messages_for_which_it_holds_go_on(tmp_path: Path) -> None:
    server = build("""[pipelines]\nmessage = ["json", "when type == 'chat' and len(text) <= 3", "echo"]""", tmp_path)
    client = server.connect()
    server.client_says(
        client, '{"type":"chat","text":"hi"}', '{"type":"chat","text":"long"}', '{"type":"chat"}', "[1]", '"chat"'
    )
    assert server.sent(client) == ['{"type":"chat","text":"hi"}']
    assert server.faults == 0


def test_it_asks_for_the_client_and_the_path(tmp_path: Path) -> None:
    server = build(
        """
        [endpoints."/{room}"]
        message = ["when params.room == 'tea' and identity.name == 'ann'", "echo"]
        """,
        tmp_path,
    )
    ann, bob = server.connect("/tea", identity={"name": "ann"}), server.connect("/tea", identity={"name": "bob"})
    away, nobody = server.connect("/coffee", identity={"name": "ann"}), server.connect("/tea")
    for client in (ann, bob, away, nobody):
        server.client_says(client, "hello")
    assert server.sent(ann) == ["hello"]
    assert server.sent(bob) == server.sent(away) == server.sent(nobody) == []


def test_on_connect_the_rest_is_left_out_and_the_client_stays(tmp_path: Path) -> None:
    server = build(
        """[pipelines]\nconnect = ["when client.path == '/in'", "join lobby"]\nmessage = ["echo"]""", tmp_path
    )
    inside, outside = server.connect("/in"), server.connect("/out")
    assert server.hub.members("lobby") == [inside]
    server.client_says(outside, "hello")
    assert server.sent(outside) == ["hello"]


def test_on_publication_and_deliver_it_sees_message_and_channel(tmp_path: Path) -> None:
    server = build(
        """
        [pipelines]
        connect = ["join a", "join b"]
        publication = ["when channel == 'a'"]
        deliver = ["when channel == 'a' and to in (null, client.path)"]
        """,
        tmp_path,
    )
    one, two = server.connect("/1"), server.connect("/2")
    server.channels.publish("a", {"n": 1})
    server.channels.publish("b", {"n": 2})
    server.channels.publish("a", {"n": 3, "to": "/2"})
    assert server.sent(one) == ['{"n":1}']
    assert server.sent(two) == ['{"n":1}', '{"n":3,"to":"/2"}']


def test_on_disconnect_the_rest_is_left_out(tmp_path: Path) -> None:
    server = build(
        """
        [pipelines]
        connect = ["join lobby"]
        disconnect = ["when client.path == '/loud'", "publish lobby gone"]
        """,
        tmp_path,
    )
    stays, quiet, loud = server.connect(), server.connect("/quiet"), server.connect("/loud")
    server.leave(quiet)
    assert server.sent(stays) == []
    server.leave(loud)
    assert server.sent(stays) == ["gone"]


@pytest.mark.parametrize(
    ("stage", "says"),
    [
        ("when type = 'x'", "compare with '=='"),
        ('when \\"type == 1 or 2\\"', "2 is always true"),
        ("when \\\"params.room == '{path}'\\\"", "use the name: client.path"),
        ("when", "needs its option 'condition'"),
    ],
)
def test_a_mistake_is_reported_before_the_server_starts(tmp_path: Path, stage: str, says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        build(f'[pipelines]\nmessage = ["{stage}"]', tmp_path)


def test_a_condition_has_quotes_wherever_it_needs_them(tmp_path: Path) -> None:
    server = build(
        """[pipelines]\nmessage = ["json", "when type in ('a', 'b') and not 'x' in text", "echo"]""", tmp_path
    )
    client = server.connect()
    server.client_says(client, '{"type":"a","text":""}', '{"type":"b","text":"x"}', '{"type":"c","text":""}')
    assert server.sent(client) == ['{"type":"a","text":""}']


def test_values_of_clients_cannot_become_part_of_a_condition(tmp_path: Path) -> None:
    # A room named `" or true or "` would open every door.
    with pytest.raises(ConfigError, match=r"use the name: params\.room"):
        build("""[endpoints."/{room}"]\nmessage = ['when room == "{room}"', "echo"]""", tmp_path)


@pytest.mark.parametrize(
    ("event", "condition", "name"),
    [
        ("connect", "token == 'x' or client.path == '/'", "token"),
        ("disconnect", "message.a is null", "message"),
        ("message", "channel == 'a'", "channel"),
        ("publication", "client.id == sender", "client"),
    ],
)
def test_a_condition_uses_only_names_that_the_event_has(event: str, condition: str, name: str, tmp_path: Path) -> None:
    """Fault: on `connect` a field of the message was silently null, and clients were refused or admitted by it."""
    with pytest.raises(ConfigError, match=f"when: there is no '{name}' on {event}: use "):
        build(f'[pipelines]\n{event} = ["when {condition}"]\n', tmp_path)

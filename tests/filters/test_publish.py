from __future__ import annotations

from pathlib import Path

import pytest

from fws.base.errors import ConfigError, Reject
from tests.support import build


def test_arrivals_and_departures_are_announced_without_code(tmp_path: Path) -> None:
    server = build(
        """
        [pipelines]
        connect = ["join lobby", "publish lobby to=others {client.id} has come"]
        disconnect = ["publish lobby {client.id} has left"]
        """,
        tmp_path,
    )
    first, second = server.connect(), server.connect()
    assert server.sent(first) == [f"{second.id} has come"]
    assert server.sent(second) == []
    server.leave(second)
    assert server.sent(first) == [f"{second.id} has left"]


def test_without_a_value_the_message_is_published_and_flows_on(tmp_path: Path) -> None:
    server = build(
        '[pipelines]\nconnect = ["join a", "join b"]\nmessage = ["publish a", "publish b to=others", "echo"]', tmp_path
    )
    client, other = server.connect(), server.connect()
    server.client_says(client, "hello")
    assert server.sent(client) == ["hello", "hello"]
    assert server.sent(other) == ["hello", "hello"]


def test_a_value_stands_in_for_the_message(tmp_path: Path) -> None:
    server = build('[pipelines]\nconnect = ["join a"]\nmessage = ["publish a ding dong", "echo"]', tmp_path)
    client = server.connect()
    server.client_says(client, "hello")
    assert server.sent(client) == ["ding dong", "hello"]


def test_null_is_a_message_like_any_other(tmp_path: Path) -> None:
    server = build('[pipelines]\nconnect = ["join a"]\nmessage = ["json", "split", "publish a"]', tmp_path)
    client = server.connect()
    server.client_says(client, "[null]")
    assert server.sent(client) == ["null"]


def test_in_a_table_a_placeholder_cannot_change_the_json_around_it(tmp_path: Path) -> None:
    server = build(
        """
        [endpoints."/{name}"]
        connect = ["join lobby", "tell"]
        [filters.tell]
        use = "publish"
        channel = "lobby"
        [filters.tell.value]
        type = "joined"
        name = "{name}"
        """,
        tmp_path,
    )
    client = server.connect("/%22,%22type%22:%22admin")
    assert server.sent(client) == ['{"type":"joined","name":"\\",\\"type\\":\\"admin"}']


def test_an_impossible_channel_refuses_on_connect_and_ends_the_message(tmp_path: Path) -> None:
    server = build('[endpoints."/{room}"]\nconnect = ["publish x{room} hi"]', tmp_path)
    with pytest.raises(Reject) as refused:
        server.connect("/" + "x" * 200)
    assert refused.value.status == 400
    server = build('[endpoints."/{room}"]\nmessage = ["publish x{room} hi", "echo"]', tmp_path)
    client = server.connect("/" + "x" * 200)
    server.client_says(client, "hello")
    assert server.sent(client) == []
    assert server.faults == 0


def test_on_publication_a_copy_goes_to_the_channel_once(tmp_path: Path) -> None:
    server = build(
        '[pipelines]\npublication = ["publish audit"]\n[endpoints."/{room}"]\nconnect = ["join {room}"]', tmp_path
    )
    auditor, member = server.connect("/audit"), server.connect("/tea")
    server.channels.publish("tea", "hello", exclude=member.id)
    server.channels.broadcast("all")
    assert server.sent(auditor) == ["hello", "all", "all"]
    assert server.sent(member) == ["all"]
    assert server.faults == 0


def test_on_publication_to_others_leaves_the_sender_out(tmp_path: Path) -> None:
    server = build(
        '[pipelines]\nconnect = ["join audit"]\nmessage = ["publish tea"]\npublication = ["publish audit to=others"]',
        tmp_path,
    )
    sender, other = server.connect(), server.connect()
    server.client_says(sender, "hello")
    assert server.sent(sender) == []
    assert server.sent(other) == ["hello"]


@pytest.mark.parametrize("event", ["connect", "disconnect"])
@pytest.mark.parametrize("path", ["/a", "/{room}"])
def test_where_nothing_flows_a_value_is_asked_for_before_anything_starts(event: str, path: str, tmp_path: Path) -> None:
    """Fault: the file passed the check, and every client got a 500."""
    channel = "{room}" if "{" in path else "lobby"
    with pytest.raises(ConfigError, match=f"nothing flows on {event}: give the option 'value'"):
        build(f'[endpoints."{path}"]\n{event} = ["publish {channel}"]\n', tmp_path)

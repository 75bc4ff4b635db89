from __future__ import annotations

from pathlib import Path

import pytest

from fws import DROP
from fws.base.errors import ConfigError
from fws.filters.set import Set
from tests.support import build


def test_fields_replace_those_of_the_sender_in_a_copy() -> None:
    message = {"from": "forged", "text": "hi"}
    assert Set(fields={"from": "c1"}).change(message) == {"from": "c1", "text": "hi"}
    assert message == {"from": "forged", "text": "hi"}


@pytest.mark.parametrize("value", ["text", '{"from":"forged"}', b"bytes", [{"from": "x"}], 5, None])
def test_a_message_that_is_not_an_object_is_dropped(value: object) -> None:
    assert Set(fields={"from": "c1"}).change(value) is DROP


def test_placeholders_are_filled_per_client_and_time(tmp_path: Path) -> None:
    server = build(
        '[endpoints."/{room}"]\nmessage = ["json", "set from={client.id} room={room} at={time}", "echo"]', tmp_path
    )
    for room in ("tea", "coffee"):
        client = server.connect("/" + room)
        server.client_says(client, '{"from": "forged"}')
        assert server.sent(client) == [f'{{"from":"{client.id}","room":"{room}","at":"2026-01-02T03:04:05.000Z"}}']


def test_the_value_of_a_placeholder_is_always_text(tmp_path: Path) -> None:
    server = build('[endpoints."/{room}"]\nmessage = ["json", "set room={room}", "echo"]', tmp_path)
    for room, json in (("123", '"123"'), ("true", '"true"'), ("%7B%22a%22:1%7D", '"{\\"a\\":1}"')):
        client = server.connect("/" + room)
        server.client_says(client, "{}")
        assert server.sent(client) == [f'{{"room":{json}}}']


def test_a_literal_is_json_where_it_can_be(tmp_path: Path) -> None:
    server = build(
        """[pipelines]\nmessage = ["json", "set n=5 ok=true no=null tags=[1,2] five='\\"5\\"' word=lobby", "echo"]""",
        tmp_path,
    )
    client = server.connect()
    server.client_says(client, "{}")
    assert server.sent(client) == ['{"n":5,"ok":true,"no":null,"tags":[1,2],"five":"5","word":"lobby"}']


def test_a_table_gives_values_of_any_kind(tmp_path: Path) -> None:
    server = build(
        """
        [pipelines]
        message = ["json", "stamp", "echo"]
        [filters.stamp]
        use = "set"
        [filters.stamp.fields]
        v = 2
        tags = ["a", "b"]
        five = "5"
        """,
        tmp_path,
    )
    client = server.connect()
    server.client_says(client, "{}")
    assert server.sent(client) == ['{"v":2,"tags":["a","b"],"five":"5"}']


def test_it_changes_publications_too(tmp_path: Path) -> None:
    server = build(
        '[pipelines]\nmessage = ["json", "broadcast"]\npublication = ["set a=1x"]\ndeliver = ["set to={id}"]', tmp_path
    )
    client = server.connect()
    server.client_says(client, "{}")
    assert server.sent(client) == [f'{{"a":"1x","to":"{client.id}"}}']


def test_without_a_field_it_is_a_mistake(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="needs its option 'fields'"):
        build('[pipelines]\nmessage = ["set"]', tmp_path)

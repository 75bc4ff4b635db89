from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from fws.base.errors import ConfigError, Reject
from tests.support import Harness, build

EDITOR = {"user": "ann", "roles": ["editor"]}


@pytest.mark.parametrize(
    ("identity", "target", "passes"),
    [
        (EDITOR, "/", True),
        ({"roles": ["reader"]}, "/", False),
        ({"roles": "editor"}, "/", False),
        ({}, "/", False),
        (None, "/", False),
        (None, "/?mode=read", True),
    ],
)
def test_which_clients_are_admitted(tmp_path: Path, identity: Any, target: str, passes: bool) -> None:
    condition = "identity.roles is not null and 'editor' in identity.roles and not startswith(identity.roles, 'e')"
    server = build(
        f"[pipelines]\nconnect = [\"require {condition} or request.query.mode == 'read'\", 'join in']", tmp_path
    )
    if passes:
        assert server.connect(target, identity=identity).channels == {"in"}
        return
    with pytest.raises(Reject) as refused:
        server.connect(target, identity=identity)
    assert refused.value.status == 403
    assert server.hub.members("in") == []
    assert server.counted("requirements_unmet") == {"": 1}


def test_behind_a_token_that_comes_as_the_first_message_the_refusal_is_a_close_code(tmp_path: Path) -> None:
    stages = '["token ann:aaaa bob:bbbb", "require identity.user == \'ann\'"]'
    server = build(f"[pipelines]\nconnect = {stages}\nmessage = ['echo']", tmp_path)
    ann, bob = server.connect(), server.connect()
    server.client_says(ann, "aaaa", "hello")
    server.client_says(bob, "bbbb", "hello")
    assert server.sent(ann) == ["hello"]
    assert server.sent(bob) == []
    assert server.closed(bob) == (4403, "You may not connect here.")


@pytest.mark.parametrize(
    ("how", "sent", "closed"),
    [("drop", [], None), ("reply", ['{"error":"not allowed"}'], None), ("close", [], (1008, "not allowed"))],
)
def test_which_messages_are_accepted(tmp_path: Path, how: str, sent: list[str], closed: Any) -> None:
    stage = f"require on_refusal={how} type != 'kick' or identity.admin == true"
    server = build(f'[pipelines]\nmessage = ["json", "{stage}", "echo"]', tmp_path)
    client = server.connect(identity={"admin": 1})
    server.client_says(client, '{"type":"chat"}', '{"type":"kick"}')
    assert server.sent(client) == ['{"type":"chat"}', *sent]
    assert server.closed(client) == closed
    admin = server.connect(identity={"admin": True})
    server.client_says(admin, '{"type":"kick"}')
    assert server.sent(admin) == ['{"type":"kick"}']


@pytest.mark.parametrize("condition", ["type == 'x'", "channel == 'x'", "request.secret", "request"])
def test_a_name_that_connect_does_not_have_is_a_problem_of_the_file(tmp_path: Path, condition: str) -> None:
    with pytest.raises(ConfigError):
        build(f'[pipelines]\nconnect = ["require {condition}"]', tmp_path)


# `allow` of join, publish and broadcast.

ROOMS = """
[endpoints."/{room}"]
connect = ["join {room} allow='channel in identity.rooms'"]
message = ["json", "by_type"]
[filters.by_type]
use = "switch"
key = "type"
[filters.by_type.case]
join = ["set_room", "join {state.room} allow='channel in identity.rooms'", "reply joined"]
say = ["broadcast {room} allow='not identity.muted and startswith(channel, \\"t\\")'", "reply said"]
tell = ["publish {room} allow='text != null'", "reply told"]
"""
SET_ROOM = """
from fws import Filter
class SetRoom(Filter):
    def message(self, client, message):
        client.state["room"] = message["room"]
"""


@pytest.fixture
def rooms(tmp_path: Path) -> Harness:
    return build(ROOMS, tmp_path, pipelines={"set_room": SET_ROOM})


def test_only_permitted_clients_join_a_channel(rooms: Harness) -> None:
    client = rooms.connect("/tea", identity={"rooms": ["tea", "milk"]})
    with pytest.raises(Reject) as refused:
        rooms.connect("/tea", identity={"rooms": ["milk"]})
    assert refused.value.status == 403
    with pytest.raises(Reject):
        rooms.connect("/tea")
    rooms.client_says(client, '{"type":"join","room":"milk"}', '{"type":"join","room":"gin"}')
    assert rooms.sent(client) == ["joined"]
    assert client.channels == {"tea", "milk"}
    assert rooms.counted("channels_refused") == {"": 3}


def test_only_permitted_clients_publish_to_a_channel(rooms: Harness) -> None:
    ann = rooms.connect("/tea", identity={"rooms": ["tea"]})
    bob = rooms.connect("/tea", identity={"rooms": ["tea"], "muted": True})
    for client in (ann, bob):
        rooms.client_says(client, '{"type":"say"}', '{"type":"tell"}', '{"type":"tell","text":"a"}')
    told = '{"type":"tell","text":"a"}'
    assert rooms.sent(ann) == ['{"type":"say"}', "said", told, "told", told]
    assert "said" not in rooms.sent(bob)


@pytest.mark.parametrize("allow", ["channel ==", "type == 'x'"])
def test_an_allow_that_cannot_be_asked_is_a_problem_of_the_file(tmp_path: Path, allow: str) -> None:
    with pytest.raises(ConfigError):
        build(f"[pipelines]\nconnect = ['join lobby allow=\"{allow}\"']", tmp_path)


def test_no_placeholder_becomes_part_of_a_condition(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="use the name: params"):
        build("[endpoints.'/{room}']\nconnect = [\"join x allow='channel == \\\"{room}\\\"'\"]", tmp_path)


@pytest.mark.parametrize("name", ["*", "chat:*", "a?", "[ab]"])
def test_a_pattern_is_not_a_valid_channel_name(tmp_path: Path, name: str) -> None:
    """Redis would read the name as a pattern, and a member would get the publications of all channels."""
    from urllib.parse import quote

    server = build("[endpoints.'/{room}']\nconnect = ['join {room}']", tmp_path)
    with pytest.raises(Reject) as refused:
        server.connect("/" + quote(name))
    assert refused.value.status == 400

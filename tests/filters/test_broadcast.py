from __future__ import annotations

from pathlib import Path

from tests.support import build


def test_without_a_channel_every_client_gets_it(tmp_path: Path) -> None:
    server = build('[pipelines]\nmessage = ["broadcast"]\n[endpoints."/other"]', tmp_path)
    sender, other = server.connect(), server.connect("/other")
    server.client_says(sender, "hello")
    assert server.sent(sender) == server.sent(other) == ["hello"]


def test_with_a_channel_its_members_get_it(tmp_path: Path) -> None:
    server = build(
        '[endpoints."/in"]\nconnect = ["join lobby"]\n[endpoints."/out"]\nmessage = ["broadcast lobby"]', tmp_path
    )
    member, outsider = server.connect("/in"), server.connect("/out")
    server.client_says(outsider, "hello")
    assert server.sent(member) == ["hello"]
    assert server.sent(outsider) == []


def test_to_others_leaves_the_sender_out(tmp_path: Path) -> None:
    for stage in ("broadcast lobby to=others", "broadcast to=others"):
        server = build(f'[pipelines]\nconnect = ["join lobby"]\nmessage = ["{stage}"]', tmp_path)
        sender, other = server.connect(), server.connect()
        server.client_says(sender, "hello")
        assert server.sent(sender) == []
        assert server.sent(other) == ["hello"]


def test_the_sender_is_known_to_deliver(tmp_path: Path) -> None:
    server = build('[pipelines]\nmessage = ["broadcast"]\ndeliver = ["skip_sender"]', tmp_path)
    sender, other = server.connect(), server.connect()
    server.client_says(sender, "hello")
    assert server.sent(sender) == []
    assert server.sent(other) == ["hello"]


def test_a_room_of_the_path_is_its_channel(tmp_path: Path) -> None:
    server = build(
        '[endpoints."/rooms/{room}"]\nconnect = ["join room:{room}"]\nmessage = ["broadcast room:{room}"]', tmp_path
    )
    tea, coffee = server.connect("/rooms/tea"), server.connect("/rooms/coffee")
    server.client_says(tea, "hello")
    assert server.sent(tea) == ["hello"]
    assert server.sent(coffee) == []


def test_an_invalid_channel_name_ends_the_event_without_an_error(tmp_path: Path) -> None:
    server = build('[endpoints."/{room}"]\nmessage = ["broadcast room:{room}", "echo"]', tmp_path)
    client = server.connect("/" + "x" * 200)
    server.client_says(client, "hello")
    assert server.sent(client) == []
    assert server.faults == 0
    assert server.closed(client) is None


def test_on_publication_other_channels_are_passed_on(tmp_path: Path) -> None:
    server = build(
        """
        [pipelines]
        publication = ["broadcast all"]
        [endpoints."/{room}"]
        connect = ["join {room}"]
        """,
        tmp_path,
    )
    reader, tea = server.connect("/all"), server.connect("/tea")
    server.channels.publish("tea", "hello")
    server.channels.publish("all", "to all")
    assert server.sent(reader) == ["hello", "to all"]
    assert server.sent(tea) == ["hello"]
    assert server.faults == 0


def test_on_publication_without_a_channel_nobody_gets_it_in_circles(tmp_path: Path) -> None:
    server = build('[pipelines]\nconnect = ["join tea"]\nmessage = ["echo"]\npublication = ["broadcast"]', tmp_path)
    client = server.connect()
    server.channels.broadcast("once")
    assert server.sent(client) == ["once"]
    server.channels.publish("tea", "both")
    assert server.sent(client) == ["both", "both"]
    assert server.faults == 0


def test_on_publication_the_excluded_client_stays_excluded(tmp_path: Path) -> None:
    server = build('[pipelines]\npublication = ["broadcast"]', tmp_path)
    left_out, other = server.connect(), server.connect()
    server.channels.publish("tea", "hello", exclude=left_out.id)
    assert server.sent(left_out) == []
    assert server.sent(other) == ["hello"]

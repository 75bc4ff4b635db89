"""Stages with placeholders for fields of the message."""

from __future__ import annotations

from pathlib import Path

import pytest

from fws.base.errors import ConfigError
from fws.pipeline.templated import KEPT
from tests.support import Harness, build


def test_a_message_names_its_channel(tmp_path: Path) -> None:
    toml = """
    [pipelines]
    message = ["json", "switch_kind"]
    [filters.switch_kind]
    use = "switch"
    key = "do"
    case.join = ["join room:{message.room}"]
    case.say = ["broadcast room:{message.room}"]
    """
    server: Harness = build(toml, tmp_path)
    ann, bob, eve = (server.connect() for _ in range(3))
    server.client_says(ann, '{"do":"join","room":"tea"}')
    server.client_says(bob, '{"do":"join","room":7}')
    server.client_says(eve, '{"do":"say","room":"tea","text":"hi"}', '{"do":"say","room":7}', '{"do":"say","room":[]}')
    assert [server.sent(client) for client in (ann, bob, eve)] == [
        ['{"do":"say","room":"tea","text":"hi"}'],
        ['{"do":"say","room":7}'],
        [],
    ]
    assert (server.metrics["messages_unfilled"], server.faults) == (1, 0)


def test_many_values_are_kept_to_a_bound(tmp_path: Path) -> None:
    server = build('[pipelines]\nmessage = ["json", "join room:{message.room}"]', tmp_path)
    client = server.connect()
    for number in range(KEPT + 50):
        server.client_says(client, f'{{"room":{number}}}')
    assert len(client.channels) == KEPT + 50


def test_a_publication_and_a_delivery_fill_in_as_well(tmp_path: Path) -> None:
    toml = """
    [pipelines]
    connect = ["join lobby"]
    message = ["json", "broadcast lobby"]
    publication = ["publish copies:{channel} {message.text}"]
    deliver = ["set seen={message.text}@{channel}"]
    """
    server = build(toml, tmp_path)
    client = server.connect()
    client.join("copies:lobby")
    server.client_says(client, '{"text":"hi"}')
    assert '{"text":"hi","seen":"hi@lobby"}' in server.sent(client)


@pytest.mark.parametrize(
    ("event", "stage", "said"),
    [
        ("connect", "join {message.room}", "a placeholder needs a message, and connect has none"),
        ("message", "reply {channel}", "a placeholder needs a channel, and message has none"),
        ("publication", "publish {client.id}", "a placeholder needs a client, and publication has none"),
    ],
)
def test_a_placeholder_that_the_event_does_not_have_is_a_problem(
    event: str, stage: str, said: str, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match=said):
        build(f'[pipelines]\n{event} = ["{stage}"]', tmp_path)


@pytest.mark.parametrize(
    ("stages", "warns"),
    [
        ('"json", "join {message.room}"', True),
        ('"json", "broadcast room:{message.room}"', True),
        ('"json", "join {message.room} allow=\'message.room in identity.rooms\'"', False),
        ('"json", "when message.room in [\'a\', \'b\']", "join {message.room}"', False),
        ('"json", "require identity.admin", "broadcast {message.room}"', False),
        ('"json", "join {client.id}"', False),
    ],
)
def test_a_channel_that_anybody_may_name_is_a_warning(stages: str, warns: bool, tmp_path: Path) -> None:
    server = build(f"[pipelines]\nmessage = [{stages}]", tmp_path)
    found = [str(one) for one in server.generation.warnings if "a client can name any channel" in str(one)]
    assert bool(found) is warns

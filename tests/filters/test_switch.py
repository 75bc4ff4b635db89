from __future__ import annotations

from pathlib import Path

import pytest

from fws.base.errors import ConfigError
from tests.support import build

BY_TYPE = """
[pipelines]
connect = ["join lobby"]
message = ["json", "by_type", "echo"]
[filters.by_type]
use = "switch"
key = "type"
default = ["reply unknown", "drop"]
[filters.by_type.case]
chat = ["pick type text"]
quit = ["close 4000"]
stop = ["drop", "reply never"]
empty = []
5 = ["reply five"]
true = ["reply yes"]
"""


@pytest.mark.parametrize(
    ("says", "sent"),
    [
        ('{"type":"chat","text":"hi","x":1}', ['{"type":"chat","text":"hi"}']),
        ('{"type":"stop"}', []),
        ('{"type":"empty"}', ['{"type":"empty"}']),
        ('{"type":5}', ["five", '{"type":5}']),
        ('{"type":"5"}', ["five", '{"type":"5"}']),
        ('{"type":true}', ["yes", '{"type":true}']),
        ('{"type":"other"}', ["unknown"]),
        ('{"type":null}', ["unknown"]),
        ('{"type":["chat"]}', ["unknown"]),
        ('{"type":{"a":1}}', ["unknown"]),
        ("{}", ["unknown"]),
        ("[1]", ["unknown"]),
        ('"chat"', ["unknown"]),
    ],
)
def test_the_branch_of_the_value_runs_and_its_result_flows_on(tmp_path: Path, says: str, sent: list[str]) -> None:
    server = build(BY_TYPE, tmp_path)
    client = server.connect()
    server.client_says(client, says)
    assert server.sent(client) == sent
    assert server.faults == 0


def test_a_branch_can_close(tmp_path: Path) -> None:
    server = build(BY_TYPE, tmp_path)
    client = server.connect()
    server.client_says(client, '{"type":"quit"}')
    assert server.closed(client) == (4000, "")


def test_without_a_default_other_values_flow_on(tmp_path: Path) -> None:
    server = build(
        """
        [pipelines]
        message = ["json", "by", "echo"]
        [filters.by]
        use = "switch"
        key = "head.type"
        case.stop = ["drop"]
        """,
        tmp_path,
    )
    client = server.connect()
    server.client_says(client, '{"head":{"type":"stop"}}', '{"head":{"type":"go"}}', '{"head":1}', "1")
    assert server.sent(client) == ['{"head":{"type":"go"}}', '{"head":1}', "1"]


def test_on_publication_and_deliver_it_branches_by_the_published_message(tmp_path: Path) -> None:
    for event in ("publication", "deliver"):
        server = build(
            f"""
            [pipelines]
            {event} = ["by"]
            [filters.by]
            use = "switch"
            key = "type"
            [filters.by.case]
            secret = ["drop"]
            long = ["omit body"]
            """,
            tmp_path,
        )
        client = server.connect()
        for kind in ("secret", "long", "plain"):
            server.channels.broadcast({"type": kind, "body": 1})
        assert server.sent(client) == ['{"type":"long"}', '{"type":"plain","body":1}'], event
        assert server.faults == 0


def test_a_branch_can_split_and_the_rest_runs_for_each(tmp_path: Path) -> None:
    server = build(
        """
        [pipelines]
        message = ["json", "by", "echo"]
        [filters.by]
        use = "switch"
        key = "type"
        case.batch = ["split items", "when message != 2"]
        """,
        tmp_path,
    )
    client = server.connect()
    server.client_says(client, '{"type":"batch","items":[1,2,3]}', '{"type":"one"}')
    assert server.sent(client) == ["1", "3", '{"type":"one"}']


def test_a_mistake_in_a_branch_is_found_before_the_server_starts(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="brodcast"):
        build(BY_TYPE.replace('"drop", "reply never"', '"brodcast"'), tmp_path)
    with pytest.raises(ConfigError, match="does not serve message"):
        build(BY_TYPE.replace('"drop", "reply never"', '"skip_sender"'), tmp_path)
    with pytest.raises(ConfigError, match="expected a list of stages"):
        build(BY_TYPE.replace('["drop", "reply never"]', '"drop"'), tmp_path)

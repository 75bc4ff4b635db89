from __future__ import annotations

from pathlib import Path

import pytest

from fws.base.errors import ConfigError
from tests.support import Harness, build


def server_of(tmp_path: Path, *stages: str) -> Harness:
    listed = ", ".join(f'"{stage}"' for stage in stages)
    return build(f'[pipelines]\nmessage = ["json", {listed}, "echo"]', tmp_path)


def test_each_item_runs_through_the_rest_in_order(tmp_path: Path) -> None:
    server = server_of(tmp_path, "split", "set seen=yes")
    client = server.connect()
    server.client_says(client, '[{"n":1},{"n":2}]', '{"n":3}')
    assert server.sent(client) == ['{"n":1,"seen":"yes"}', '{"n":2,"seen":"yes"}', '{"n":3,"seen":"yes"}']


def test_an_item_that_is_dropped_is_dropped_alone(tmp_path: Path) -> None:
    server = server_of(tmp_path, "split", "when n != 2", "rate_limit 1/s burst=3")
    client = server.connect()
    server.client_says(client, '[{"n":1},{"n":2},{"n":3},{"n":4},{"n":5}]')
    assert server.sent(client) == ['{"n":1}', '{"n":3}', '{"n":4}']


def test_a_close_ends_the_rest_of_the_list(tmp_path: Path) -> None:
    server = build("""[pipelines]\nmessage = ["json", "split", "echo", "when message == 2", "close 4000"]""", tmp_path)
    client = server.connect()
    server.client_says(client, "[1,2,3]")
    assert server.sent(client) == ["1", "2"]
    assert server.closed(client) == (4000, "")


def test_a_field_can_hold_the_list(tmp_path: Path) -> None:
    server = server_of(tmp_path, "split items")
    client = server.connect()
    server.client_says(client, '{"items":[1,[2,3]],"other":1}', '{"items":5}', '{"other":1}', "[7]", "8")
    assert server.sent(client) == ["1", "[2,3]", '{"items":5}', '{"other":1}', "[7]", "8"]


def test_lists_of_lists_split_as_often_as_asked(tmp_path: Path) -> None:
    server = server_of(tmp_path, "split", "split")
    client = server.connect()
    server.client_says(client, "[[1,2],3,[],[4]]")
    assert server.sent(client) == ["1", "2", "3", "4"]


def test_an_empty_list_gives_no_message(tmp_path: Path) -> None:
    server = server_of(tmp_path, "split")
    client = server.connect()
    server.client_says(client, "[]")
    assert server.sent(client) == []
    assert server.faults == 0


def test_a_list_that_is_too_long_is_not_split_at_all(tmp_path: Path) -> None:
    server = server_of(tmp_path, "split max_items=2")
    client = server.connect()
    server.client_says(client, "[1,2,3]", "[1,2]")
    assert server.sent(client) == ["1", "2"]
    assert server.metrics["lists_over_size"] == 1
    server = server_of(tmp_path, "split max_items=2 on_excess=reply")
    client = server.connect()
    server.client_says(client, "[1,2,3]")
    assert server.sent(client) == ['{"error":"a list has at most 2 items"}']
    server = server_of(tmp_path, "split max_items=2 on_excess=close")
    client = server.connect()
    server.client_says(client, "[1,2,3]")
    assert server.closed(client) == (1009, "a list has at most 2 items")


@pytest.mark.parametrize("limit", [0, 1001])
def test_a_limit_of_nothing_or_of_too_much_is_a_mistake_in_the_file(tmp_path: Path, limit: int) -> None:
    with pytest.raises(ConfigError, match="1 to 1000"):
        server_of(tmp_path, f"split max_items={limit}")


@pytest.mark.parametrize("stages", [["split items", "split", "reply x"], ["split items", "switch_split"]])
def test_one_message_becomes_at_most_a_thousand(tmp_path: Path, stages: list[str]) -> None:
    """Fault: lists in lists made 10,000 messages of 10 KB, and delayed everybody by 140 ms."""
    tables = """
[filters.switch_split]
use = "switch"
key = "kind"
default = ["split", "reply x"]
case = {}
"""
    listed = ", ".join(f'"{stage}"' for stage in stages)
    server = build(f'[pipelines]\nmessage = ["json", {listed}]\n{tables}', tmp_path)
    client = server.connect()
    lists = [[0] * 90 for _ in range(10)]
    server.client_says(client, *[str({"items": lists}).replace("'", '"')] * 3)
    assert server.sent(client) == ["x"] * 2700
    assert not client.closing
    server.client_says(client, str({"items": [*lists, *lists]}).replace("'", '"'))
    assert server.closed(client) == (1009, "one message becomes at most 1000")
    assert server.metrics["parts_over_limit"] == 1
    assert len(server.sent(client)) < 1000


@pytest.mark.parametrize("event", ["data", "deliver"])
def test_several_may_flow_in_message_only(tmp_path: Path, event: str) -> None:
    source = """
from fws import Filter
from fws.pipeline.outcomes import Several

class Both(Filter):
    def data(self, client, data):
        return Several([data, data])

    def deliver(self, client, publication):
        return Several([publication, publication])
"""
    server = build(f'[pipelines]\n{event} = ["both"]\nmessage = ["broadcast"]', tmp_path, pipelines={"both": source})
    client = server.connect()
    server.client_says(client, "hello")
    assert server.sent(client) == []
    assert server.faults == 1

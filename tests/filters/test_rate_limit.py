from __future__ import annotations

from pathlib import Path

import pytest

from fws.base.errors import ConfigError, Reject
from tests.support import Harness, build


def echo(tmp_path: Path, stage: str) -> Harness:
    return build(f'[pipelines]\nmessage = ["{stage}", "echo"]', tmp_path)


def test_a_burst_passes_and_then_the_rate(tmp_path: Path) -> None:
    server = echo(tmp_path, "rate_limit 10/s burst=3")
    client = server.connect()
    server.client_says(client, "1", "2", "3", "4", "5")
    assert server.sent(client) == ["1", "2", "3"]
    assert server.metrics["events_over_rate"] == 2
    server.clock.advance(0.1)
    server.client_says(client, "6", "7")
    assert server.sent(client) == ["6"]
    server.clock.advance(3600)
    server.client_says(client, *"abcdef")
    assert server.sent(client) == ["a", "b", "c"]


def test_refused_events_cost_no_token(tmp_path: Path) -> None:
    server = echo(tmp_path, "rate_limit 1/s")
    client = server.connect()
    for _ in range(10):
        server.client_says(client, "x", "x", "x")
        server.clock.advance(1)
    assert server.sent(client) == ["x"] * 10


@pytest.mark.parametrize(("rate", "burst"), [("20/s", 20), ("2.5/s", 3), ("5/min", 1), ("0.1/h", 1)])
def test_the_default_burst_is_the_rate_per_second(tmp_path: Path, rate: str, burst: int) -> None:
    server = echo(tmp_path, f"rate_limit {rate}")
    client = server.connect()
    server.client_says(client, *["x"] * (burst + 5))
    assert len(server.sent(client)) == burst


def test_each_client_and_each_stage_has_a_bucket_of_its_own(tmp_path: Path) -> None:
    server = build('[pipelines]\nmessage = ["rate_limit 1/min burst=2", "echo", "rate_limit 1/min", "echo"]', tmp_path)
    client, other = server.connect(), server.connect()
    server.client_says(client, "a", "b", "c")
    server.client_says(other, "x")
    assert server.sent(client) == ["a", "a", "b"]
    assert server.sent(other) == ["x", "x"]


def test_by_address_clients_share_and_reconnecting_does_not_help(tmp_path: Path) -> None:
    server = echo(tmp_path, "rate_limit 1/min burst=2 by=address")
    first = server.connect(address="192.0.2.1")
    server.client_says(first, "1", "2", "3")
    server.leave(first)
    second, elsewhere = server.connect(address="192.0.2.1"), server.connect(address="192.0.2.2")
    server.client_says(second, "4")
    server.client_says(elsewhere, "5")
    assert server.sent(first) == ["1", "2"]
    assert server.sent(second) == []
    assert server.sent(elsewhere) == ["5"]


def test_an_excess_is_answered_or_closes(tmp_path: Path) -> None:
    server = echo(tmp_path, "rate_limit 1/s on_excess=reply")
    client = server.connect()
    server.client_says(client, "1", "2")
    assert server.sent(client) == ["1", '{"error":"too fast"}']
    server = echo(tmp_path, "rate_limit 1/s on_excess=close")
    client = server.connect()
    server.client_says(client, "1", "2")
    assert server.sent(client) == ["1"]
    assert server.closed(client) == (1008, "too fast")


def test_excess_bytes_close_the_connection_because_missing_bytes_corrupt_frames(tmp_path: Path) -> None:
    server = build('[pipelines]\ndata = ["rate_limit 1/s burst=2"]\nmessage = ["echo"]', tmp_path)
    client = server.connect()
    server.client_says(client, "1", "2", "3")
    assert server.sent(client) == ["1", "2"]
    assert server.closed(client) == (1008, "too fast")


def test_connections_are_limited_by_address_with_retry_after(tmp_path: Path) -> None:
    server = build('[pipelines]\nconnect = ["rate_limit 6/min burst=2 by=address"]', tmp_path)
    server.connect()
    server.connect()
    with pytest.raises(Reject) as refused:
        server.connect()
    assert refused.value.status == 429
    assert refused.value.headers == (("Retry-After", "10"),)
    server.clock.advance(10)
    server.connect()


def test_nothing_of_it_can_be_read_as_state(tmp_path: Path) -> None:
    server = echo(tmp_path, "rate_limit 1/s")
    client = server.connect()
    server.client_says(client, "1")
    assert not [key for key in client.state if isinstance(key, str)]


@pytest.mark.parametrize("stage", ["rate_limit", "rate_limit 20", "rate_limit 0/s", "rate_limit 1/s burst=0"])
def test_a_limit_that_passes_nothing_or_everything_is_a_problem_of_the_file(tmp_path: Path, stage: str) -> None:
    with pytest.raises(ConfigError, match=r"rate|burst"):
        echo(tmp_path, stage)

"""`/metrics` and `/readyz` of real servers: several workers as one, while one is killed, renewed or frozen."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest
from prometheus_client.parser import text_string_to_metric_families
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from tests.integration.conftest import Running, Serve
from tests.integration.raw import request
from tests.integration.redis_server import RedisServer
from tests.integration.test_admin import admin_of, asked
from tests.integration.test_workers import wait_until

pytestmark = pytest.mark.process

CONF = """
[admin]
listen = "127.0.0.1:0"
[server]
drain = "3s"
[redis]
url = "${REDIS_URL:-}"
[endpoints."/"]
connect = ["join all"]
message = ["broadcast all"]
[endpoints."/closed"]
connect = ["reject 403"]
"""
# `slow` starts when the file `go` is there.
SLOW = """
import os, time
from fws import Filter


class Slow(Filter):
    def start(self):
        while not os.path.exists("go"):
            time.sleep(0.02)

    def message(self, client, message): ...
"""


@pytest.fixture(scope="module")
def redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    server = RedisServer(tmp_path_factory.mktemp("redis"))
    yield server
    server.kill()


class Scraped:
    """The admin listener of a server, as Prometheus sees it."""

    def __init__(self, server: Running) -> None:
        self.address = admin_of(server)

    def get(self, path: str) -> tuple[int, str]:
        host, port = self.address
        asking = Request(f"http://{host}:{port}{path}", headers={"Connection": "close"})
        try:
            with urlopen(asking, timeout=5) as response:
                return response.status, response.read().decode()
        except HTTPError as error:
            return error.code, error.read().decode()

    def numbers(self) -> dict[str, float]:
        """The sum of each metric's series, by the name of the sample; of histograms the count."""
        found: dict[str, float] = {}
        for family in text_string_to_metric_families(self.get("/metrics")[1]):
            for sample in family.samples:
                if not sample.name.endswith("_bucket"):
                    found[sample.name] = found.get(sample.name, 0) + sample.value
        return found

    def totals(self) -> dict[str, float]:
        """What may never decrease."""
        return {name: value for name, value in self.numbers().items() if name.endswith(("_total", "_count", "_sum"))}


def refuse(server: Running, times: int) -> None:
    for _ in range(times):
        with pytest.raises(InvalidStatus):
            connect(server.url("/closed"), proxy=None)


def grown(before: dict[str, float], after: dict[str, float]) -> dict[str, float]:
    """The later totals. None of them is smaller than before."""
    less = {name: (value, after.get(name)) for name, value in before.items() if after.get(name, 0) < value - 1e-9}
    assert not less
    return after


def test_workers_are_one_and_no_total_decreases(serve: Serve, redis: RedisServer, tmp_path: Path) -> None:
    """One worker is killed right after a scrape, and all are renewed."""
    server = serve(CONF, "--workers", "2", REDIS_URL=redis.url)
    server.wait_for(r"(?s)(worker \d .*serves.*){2}")
    scraped = Scraped(server)
    with connect(server.url(), proxy=None) as one, connect(server.url(), proxy=None) as two:
        one.send("hello")
        assert two.recv(timeout=5) == "hello"
        refuse(server, 10)
        wait_until(lambda: scraped.numbers().get("fws_clients") == 2)
        assert scraped.numbers()["fws_workers"] == 2
        wait_until(lambda: scraped.numbers()["fws_redis_round_trip_seconds_count"] > 0)
        # Each worker may have up to a second of refusals that only it knows.
        wait_until(lambda: scraped.numbers().get("fws_refused_total") == 10)
        first = scraped.totals()
        os.kill(int(server.wait_for(r"worker 1 \(pid (\d+)\) serves")[1]), signal.SIGKILL)
        for _ in range(20):
            first = grown(first, scraped.totals())
            time.sleep(0.05)
    server.wait_for(r"(?s)(worker 1 .*serves.*){2}")
    refuse(server, 3)
    wait_until(lambda: scraped.numbers().get("fws_refused_total") == 13)
    server.signal(signal.SIGUSR2)
    until = time.monotonic() + 30
    while "all workers have been renewed" not in server.output:
        first = grown(first, scraped.totals())
        assert scraped.get("/readyz") == (200, "ready\n")
        assert time.monotonic() < until
        time.sleep(0.05)
    grown(first, scraped.totals())
    wait_until(lambda: scraped.numbers()["fws_clients"] == 0)
    assert server.stop() == 0
    assert "cannot be" not in server.output


def test_metrics_are_there_while_a_worker_is_frozen_and_redis_away(serve: Serve, tmp_path: Path) -> None:
    redis = RedisServer(tmp_path / "redis")
    try:
        server = serve(CONF, "--workers", "2", REDIS_URL=redis.url)
        pid = int(server.wait_for(r"worker 1 \(pid (\d+)\) serves")[1])
        server.wait_for("worker 2 .* serves")
        scraped = Scraped(server)
        wait_until(lambda: scraped.numbers()["fws_redis_up"] == 1)
        os.kill(pid, signal.SIGSTOP)
        try:
            redis.kill()
            wait_until(lambda: scraped.numbers()["fws_redis_up"] == 0)
            wait_until(lambda: scraped.numbers()["fws_workers"] == 1)
            assert scraped.get("/readyz") == (200, "ready\n")
        finally:
            os.kill(pid, signal.SIGCONT)
        assert server.stop() == 0
    finally:
        redis.kill()


def test_a_server_says_that_it_starts_is_full_and_drains(serve: Serve, tmp_path: Path) -> None:
    conf = CONF.replace("[redis]", "[limits]\nclients = 1\n[redis]") + 'message = ["slow"]\n'
    server = serve(conf.replace("127.0.0.1:0", f"unix:{tmp_path}/admin"), pipelines={"slow": SLOW}, ready=False)

    def ready() -> bytes:
        got = subprocess.run(
            ["curl", "-s", "--unix-socket", str(tmp_path / "admin"), "http://a/readyz"], capture_output=True, timeout=5
        )
        return got.stdout

    wait_until(lambda: ready() == b"starting\n")
    (tmp_path / "go").touch()
    server.ready()
    assert ready() == b"ready\n"
    with server.connect() as sock:
        sock.sendall(request())
        assert sock.recv(4096).startswith(b"HTTP/1.1 101 ")
        assert ready() == b"full\n"
        server.signal(signal.SIGTERM)
        wait_until(lambda: ready() == b"draining\n")
    assert server.process.wait(10) == 0


def test_a_scrape_follows_the_conventions_and_the_public_port_has_none(serve: Serve) -> None:
    server = serve(CONF)
    scraped = Scraped(server)
    with connect(server.url(), proxy=None) as client:
        client.send("hello")
        assert client.recv(timeout=5) == "hello"
        refuse(server, 1)
    status, text = scraped.get("/metrics")
    assert status == 200
    done = subprocess.run(["promtool", "check", "metrics"], input=text, capture_output=True, text=True, timeout=30)
    assert (done.returncode, done.stdout + done.stderr) == (0, "")
    for line in (
        'fws_refused_total{reason="filter",status="403"} 1.0',
        'fws_stage_runs_total{endpoint="/",event="message",stage="broadcast"} 1.0',
        'fws_stage_refusals_total{endpoint="/closed",event="connect",stage="reject"} 1.0',
        'fws_stage_seconds_count{endpoint="/",event="message",stage="broadcast"} 1.0',
        'fws_messages_received_total{endpoint="/"} 1.0',
        "fws_messages_sent_total 1.0",
        "fws_deliveries_total 1.0",
        "fws_connects_total 1.0",
        'fws_closes_total{code="1000"} 1.0',
    ):
        assert line in text.splitlines()
    assert asked(scraped.address, b"POST /metrics HTTP/1.1\r\nHost: a\r\n\r\n").startswith(b"HTTP/1.1 405 ")
    for path in (b"metrics", b"readyz"):
        get = b"GET /" + path + b" HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
        assert asked(("127.0.0.1", server.port), get).startswith(b"HTTP/1.1 404 ")

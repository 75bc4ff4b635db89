"""What `[admin]` serves for orchestrators: readiness, and nothing else until the filters have started."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any, cast

import gevent
import pytest
from werkzeug.test import Client

from fws.live.reload import Reloader
from fws.live.tallies import Tallies
from fws.runtime.scheduler import pause
from fws.server.monitor import Monitor
from fws.server.probes import Probes
from fws.server.web import Web
from fws.workers.scoreboard import Row, Scoreboard
from tests.support import build


class Site:
    """A server that is in a state of the test's choice."""

    def __init__(self, folder: Path) -> None:
        self.node = build('[pipelines]\nmessage = ["echo"]\n', folder).node
        self.generation = self.node.generation
        self.connections: int | None = None
        self.capacity = 10
        self.draining = False
        self.clock = self.node.context.clock
        self.wall = self.node.context.wall
        site: Any = self
        self.reloader = Reloader(site)
        self.tallies = Tallies(self.clock)


class Beating:
    """The heartbeat of a worker with the first of two rows."""

    def __init__(self, folder: Path) -> None:
        with tempfile.TemporaryFile() as file:
            self.board = Scoreboard(file.fileno(), 2)
        for row in range(2):
            self.board.clear(row)
        self.row = Row(self.board, 0)
        self.control = str(folder)


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path)


def asking(site: Site, heartbeat: Any = None, *, started: bool = True) -> Client:
    web = Web(static=None, health=lambda: {"status": "ok"}, is_endpoint=lambda path: False)
    probes = Probes(web, Monitor(site, heartbeat))
    probes.started = started
    return Client(probes)


def ready(client: Client) -> tuple[int, str]:
    response = client.get("/readyz")
    return response.status_code, response.text.strip()


def test_a_process_is_ready_while_it_accepts_clients(site: Site) -> None:
    client = asking(site)
    assert ready(client) == (503, "starting")
    site.connections = 9
    assert ready(client) == (200, "ready")
    site.connections = 10
    assert ready(client) == (503, "full")
    site.connections, site.draining = None, True
    assert ready(client) == (503, "draining")


def test_workers_are_ready_if_one_of_them_has_room(site: Site, tmp_path: Path) -> None:
    heartbeat = Beating(tmp_path)
    client = asking(site, heartbeat)
    assert ready(client) == (503, "starting")
    heartbeat.board.beat(0, 10)
    assert ready(client) == (503, "full")
    heartbeat.board.beat(1, 9)
    assert ready(client) == (200, "ready")
    heartbeat.board.beat(0, None)
    assert ready(client) == (200, "ready")
    heartbeat.board.beat(1, None)
    site.draining = True
    assert ready(client) == (503, "draining")


def test_before_the_filters_have_started_only_monitoring_is_served(site: Site) -> None:
    client = asking(site, started=False)
    assert client.get("/healthz").status_code == 200
    assert client.get("/metrics").status_code == 200
    response = client.get("/api/info")
    assert (response.status_code, response.headers["Retry-After"]) == (503, "1")


def test_metrics_have_the_type_that_was_asked_for_and_are_not_kept(site: Site) -> None:
    client = asking(site)
    response = client.get("/metrics", headers={"Accept": "application/openmetrics-text"})
    assert response.headers["Content-Type"].startswith("application/openmetrics-text; version=1.0.0")
    assert (response.headers["Cache-Control"], response.headers["Connection"]) == ("no-store", "close")
    assert response.text.endswith("# EOF\n")
    head = client.head("/metrics")
    assert head.status_code == 200
    assert not head.data
    assert head.headers["Content-Type"].startswith("text/plain; version=0.0.4")


def test_whoever_asks_for_metrics_holds_up_no_client(site: Site) -> None:
    """With 90 visitors at once, a message of a client took 200 ms instead of 0.5 ms: the sockets were polled only when
    each of them had had a turn."""
    rounds = 0
    made: list[int] = []

    def polled() -> None:
        nonlocal rounds
        while True:
            pause()
            rounds += 1

    def visit() -> None:
        monitor.page("")
        made.append(rounds)

    monitor = Monitor(cast("Any", site), None)
    polling = gevent.spawn(polled)
    visitors = [gevent.spawn(visit) for _ in range(20)]
    gevent.joinall(visitors, timeout=20, raise_error=True)
    polling.kill()
    assert len(set(made)) == 20


def test_what_was_shown_is_kept_for_the_successor(site: Site, tmp_path: Path) -> None:
    """Otherwise a total could decrease when a worker is killed before it has written its file."""
    site.node.context.metrics.count("bans", 3)
    heartbeat = Beating(tmp_path)
    assert "fws_bans_total 3.0" in asking(site, heartbeat).get("/metrics").text
    successor = Site(tmp_path)
    assert "fws_bans_total 3.0" in asking(successor, heartbeat).get("/metrics").text

"""The files of workers: totals never decrease, and gauges are those of workers that live."""

from __future__ import annotations

import logging
import tempfile
from pathlib import Path

import pytest

from fws.metrics.files import Files
from fws.metrics.snapshot import Snapshot
from fws.workers.scoreboard import LATE, Row, Scoreboard


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def board(clock: Clock) -> Scoreboard:
    with tempfile.TemporaryFile() as file:
        return Scoreboard(file.fileno(), 3, clock)


def snapshot_of(bans: int, clients: int) -> Snapshot:
    snapshot = Snapshot()
    snapshot.add("fws_bans_total", bans)
    snapshot.add("fws_clients", clients, "/")
    return snapshot


def seen(files: Files, bans: int, clients: int) -> tuple[float, float]:
    """What a worker shows that has counted so much: bans and clients of all workers."""
    snapshot = files.continued(snapshot_of(bans, clients))
    files.write(snapshot)
    snapshot.merge(files.others(lambda: None))
    return snapshot.numbers["fws_bans_total"][()], snapshot.numbers["fws_clients"][("/",)]


def test_a_worker_goes_on_with_the_totals_of_its_row(board: Scoreboard, clock: Clock, tmp_path: Path) -> None:
    first, second = Files(tmp_path, Row(board, 0)), Files(tmp_path, Row(board, 1))
    for row in (0, 1):
        board.beat(row, 0)
    assert seen(first, 5, 10) == (5, 10)
    assert seen(second, 2, 1) == (7, 11)
    # The first is killed. Its clients are gone at once for the supervisor's scoreboard, and its totals stay.
    board.clear(0)
    assert seen(second, 2, 1) == (7, 1)
    again = Files(tmp_path, Row(board, 0))
    board.beat(0, 0)
    assert seen(second, 3, 1) == (8, 11)  # until the successor writes, its row has the former gauges
    assert seen(again, 0, 0) == (8, 1)
    assert seen(again, 1, 4) == (9, 5)
    third = Files(tmp_path, Row(board, 0))
    assert seen(third, 0, 0) == (9, 1)


def test_a_worker_without_a_heartbeat_has_no_gauges(board: Scoreboard, clock: Clock, tmp_path: Path) -> None:
    first, second = Files(tmp_path, Row(board, 0)), Files(tmp_path, Row(board, 1))
    board.beat(0, 0)
    seen(first, 5, 10)
    clock.now += LATE + 0.1
    assert seen(second, 0, 1) == (5, 1)


def test_a_damaged_file_is_left_out_and_logged(
    board: Scoreboard, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    files = Files(tmp_path, Row(board, 0))
    (tmp_path / "1.metrics").write_bytes(b"\xff")
    assert seen(files, 1, 1) == (1, 1)
    assert "1.metrics" in caplog.text


def test_a_full_disk_is_logged_once_and_stops_nothing(
    board: Scoreboard, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    files = Files(tmp_path / "missing", Row(board, 0))
    with caplog.at_level(logging.WARNING):
        assert seen(files, 1, 1) == (1, 1)
        assert seen(files, 2, 1) == (2, 1)
    assert len(caplog.records) == 1

"""Schedules in a simulated server: when they run, with what, on which node, and what is reported."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest

from fws.config import load
from fws.config.loader import Document
from fws.schedules.claim import LEASE
from fws.testing.simulation import WALL, Simulation, Speaker

SLOW = """
import gevent
from fws import Filter


class Slow(Filter):
    '''Wait until a test lets it go on.'''

    gate = gevent.event.Event()
    runs = []

    def tick(self, message):
        self.runs.append(message["time"])
        self.gate.wait()


class Fails(Filter):
    '''Raise.'''

    def tick(self, message):
        raise RuntimeError("no")
"""


def document(folder: Path, schedules: str) -> Document:
    conf = folder / "app.toml"
    conf.write_text(f'[pipelines]\nconnect = ["join ticks"]\nmessage = ["drop"]\n{schedules}')
    return load(str(conf))


def times(speaker: Speaker) -> list[str]:
    return [str(one.message) for one in speaker.received]


EVERY = '[schedules.beat]\nevery = "10s"\nrun = ["publish ticks"]\n'


def test_a_schedule_publishes_without_a_client(tmp_path: Path) -> None:
    with Simulation(document(tmp_path, EVERY), {}, wall=WALL + 3) as run:
        ann = run.connect("ann")
        run.advance(6.9)
        assert times(ann) == []
        run.advance(0.1)
        assert times(ann) == ['{"schedule":"beat","time":"2026-01-01T00:00:10.000Z","missed":0}']
        run.advance(20)
        due = [msgspec.json.decode(text)["time"] for text in times(ann)]
        assert due == [f"2026-01-01T00:00:{second}.000Z" for second in (10, 20, 30)]


def test_it_runs_at_the_times_of_a_cron_expression(tmp_path: Path) -> None:
    schedule = '[schedules.noon]\ncron = "30 13 * * *"\ntimezone = "Europe/Berlin"\nrun = ["publish ticks hello"]\n'
    with Simulation(document(tmp_path, schedule), {}) as run:
        ann = run.connect("ann")
        run.advance(12.5 * 3600 - 1)
        assert times(ann) == []
        run.advance(1)
        assert times(ann) == ["hello"]


@pytest.mark.parametrize(("on", "number"), [("one", 1), ("each", 3)])
def test_each_tick_runs_on_one_node_or_on_each(tmp_path: Path, on: str, number: int) -> None:
    conf = document(tmp_path, f'{EVERY}on = "{on}"\n')
    with Simulation(conf, {}, ["a", "b", "c"]) as run:
        ann = run.connect("ann", node="b")
        run.advance(10)
        assert len(times(ann)) == number
        run.advance(10)
        assert len(times(ann)) == 2 * number


def test_a_reload_replaces_the_pipeline_and_removes_schedules(tmp_path: Path) -> None:
    with Simulation(document(tmp_path, EVERY), {}) as run:
        ann = run.connect("ann")
        run.advance(15)
        run.reload(document(tmp_path, EVERY.replace('"publish ticks"', '"publish ticks other"')))
        run.advance(5)
        assert times(ann)[1:] == ["other"]
        run.reload(document(tmp_path, EVERY.replace("10s", "1s").replace('"publish ticks"', '"publish ticks fast"')))
        run.advance(3)
        assert times(ann)[2:] == ["fast"] * 3
        run.reload(document(tmp_path, ""))
        run.advance(30)
        assert len(times(ann)) == 5


def test_a_fault_ends_the_tick_and_the_next_one_runs(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "pipelines").mkdir()
    (tmp_path / "pipelines" / "slow.py").write_text(SLOW)
    schedule = '[schedules.beat]\nevery = "10s"\nrun = ["publish ticks", "slow.fails", "publish ticks never"]\n'
    with Simulation(document(tmp_path, schedule), {}) as run:
        ann = run.connect("ann")
        run.advance(20)
        assert len(times(ann)) == 2
        assert run.nodes[""].context.metrics["filter_faults"] == 2
    assert "tick failed in pipelines.slow.Fails.tick" in caplog.text


def test_branches_and_lists_work_without_a_client(tmp_path: Path) -> None:
    schedule = """
[schedules.beat]
every = "10s"
run = ["by_name"]

[filters.by_name]
use = "switch"
key = "schedule"
[filters.by_name.case]
beat = ["set list=[1,2,3]", "split list", "publish ticks"]
"""
    with Simulation(document(tmp_path, schedule), {}) as run:
        ann = run.connect("ann")
        run.advance(10)
        assert times(ann) == ["1", "2", "3"]


@pytest.mark.parametrize(("overlap", "runs"), [("false", 1), ("true", 3)])
def test_a_tick_whose_predecessor_still_runs_is_missed_and_reported(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, overlap: str, runs: int
) -> None:
    (tmp_path / "pipelines").mkdir()
    (tmp_path / "pipelines" / "slow.py").write_text(SLOW)
    conf = document(tmp_path, f'[schedules.beat]\nevery = "10s"\nrun = ["slow.slow"]\noverlap = {overlap}\n')
    with Simulation(conf, {}) as run:
        kind: Any = run.nodes[""].generation.schedules["beat"].steps[0].cls
        for _ in range(3):
            # The filter blocks on purpose, so that the simulation cannot wait until all is done.
            run.clock.advance(10)
            run.wall.advance(10)
            for _ in range(5):
                run._loop.turn()
        assert len(kind.runs) == runs
        assert run.nodes[""].context.metrics["ticks_missed"] == 3 - runs
        kind.gate.set()
        run.settle()
    assert ("schedule beat has missed a tick: an earlier one is still running" in caplog.text) == (runs == 1)


def test_ticks_that_nobody_ran_in_time_are_reported(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """As when the machine was suspended, or the node that ran them has died."""
    with Simulation(document(tmp_path, EVERY), {}) as run:
        ann = run.connect("ann")
        run.advance(10)
        run.clock.advance(45)
        run.wall.advance(45)
        run.settle()
        assert times(ann)[-1] == '{"schedule":"beat","time":"2026-01-01T00:00:50.000Z","missed":3}'
        assert run.nodes[""].context.metrics["ticks_missed"] == 3
        assert "has missed 3 ticks: nobody has run them in time" in caplog.text
        run.advance(5)
        assert times(ann)[-1] == '{"schedule":"beat","time":"2026-01-01T00:01:00.000Z","missed":0}'


def test_another_node_takes_over_from_one_that_is_gone(tmp_path: Path) -> None:
    with Simulation(document(tmp_path, EVERY), {}, ["a", "b"]) as run:
        ann = run.connect("ann", node="b")
        run.advance(10)
        run.nodes["a"].schedules.stop()
        run.advance(LEASE + 5)
        assert len(times(ann)) == 2


def test_the_time_is_known_without_a_client(tmp_path: Path) -> None:
    """Fault: `{time}` was refused on `tick` and `publication`, because it was taken for something of a client."""
    schedule = '[schedules.beat]\nevery = "10s"\nrun = ["set at={time} missed=0", "publish ticks"]\n'
    conf = document(tmp_path, f'publication = ["set seen={{time}}"]\n{schedule}')
    with Simulation(conf, {}, wall=WALL + 3) as run:
        ann = run.connect("ann")
        run.advance(7)
        (text,) = times(ann)
        found = msgspec.json.decode(text)
        assert found["at"] == found["seen"] == found["time"] == "2026-01-01T00:00:10.000Z"


def test_a_claim_from_the_future_is_reported(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Fault: a node whose clock was wrong silenced a schedule without a word."""
    with Simulation(document(tmp_path, EVERY), {}) as run:
        ann = run.connect("ann")
        run._storage.set("schedule:beat", repr(WALL + 3600))
        run.advance(10)
        assert times(ann) == []
    assert "has missed a tick: one was claimed for 2026-01-01T01:00:00.000Z" in caplog.text

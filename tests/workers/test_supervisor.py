"""The supervisor's decisions, with simulated processes and a clock that the test moves."""

from __future__ import annotations

import itertools
import logging
import signal
from collections.abc import Iterator

import pytest

from fws.workers.processes import trail_of
from fws.workers.supervisor import ANSWER, FROZEN, GRACE, START, STEADY, Supervisor


class Fake:
    """A process that ends at SIGKILL, and at SIGTERM unless it is stubborn."""

    def __init__(self, number: int, pid: int, world: World) -> None:
        self.number = number
        self.pid = pid
        self.world = world
        self.exit: int | None = None
        self.beats = 0.0
        self.serving = False
        self.answer = ""
        self.asked = 0
        self.closed = False
        self.stubborn = False
        self.sent: list[int] = []

    def __str__(self) -> str:
        return f"pid {self.pid}"

    def serve(self) -> None:
        self.serving = True
        self.beat()

    def beat(self) -> None:
        self.beats = self.world.now

    def status(self) -> int | None:
        return self.exit

    def heard(self) -> float:
        return self.beats

    def serves(self) -> bool:
        return self.serving

    def where(self) -> str:
        return self.answer if self.asked else ""

    def stack(self) -> str:
        return "re.py:12 match"

    def ask(self) -> None:
        self.asked += 1

    def send(self, number: int) -> None:
        self.sent.append(number)
        if number == signal.SIGKILL:
            self.exit = -9
        elif number == signal.SIGTERM and not self.stubborn:
            self.exit = 0

    def close(self) -> None:
        self.closed = True


class World:
    """A supervisor, the processes that it has started in order, and the time."""

    def __init__(self, count: int) -> None:
        self.now = 1000.0
        self.started: list[Fake] = []
        self.announced = 0
        self.listening = True
        self.failing = False
        self.supervisor = Supervisor(
            count, self.launch, drain=25, clock=lambda: self.now, serving=self.announce, unlisten=self.unlisten
        )
        self.supervisor.tick()

    def launch(self, number: int) -> Fake:
        if self.failing:
            raise OSError(11, "no more processes")
        fake = Fake(number, 100 + len(self.started), self)
        self.started.append(fake)
        return fake

    def announce(self) -> None:
        self.announced += 1

    def unlisten(self) -> None:
        self.listening = False

    @property
    def living(self) -> list[Fake]:
        return [fake for fake in self.started if fake.exit is None]

    def all_serve(self) -> None:
        for fake in self.living:
            fake.serve()
        self.supervisor.tick()

    def passes(self, seconds: float) -> None:
        """Time passes, and workers that are alive and serve have heartbeats."""
        end = self.now + seconds
        while self.now < end:
            self.now = min(end, self.now + 0.5)
            for fake in self.living:
                if fake.serving and fake.beats >= self.now - 1:
                    fake.beat()
            self.supervisor.tick()


@pytest.fixture(autouse=True)
def log(caplog: pytest.LogCaptureFixture) -> Iterator[pytest.LogCaptureFixture]:
    logger = logging.getLogger("fws")
    logger.addHandler(caplog.handler)
    logger.setLevel(logging.INFO)
    yield caplog
    logger.removeHandler(caplog.handler)
    logger.setLevel(logging.NOTSET)


def test_each_number_gets_a_worker_and_the_first_that_serves_is_announced_once() -> None:
    world = World(3)
    assert [fake.number for fake in world.started] == [1, 2, 3]
    assert world.announced == 0
    world.all_serve()
    world.passes(60)
    assert world.announced == 1
    assert len(world.started) == 3


@pytest.mark.parametrize("exit_status", [0, 1, -9])
def test_a_dead_worker_is_replaced_at_once(exit_status: int) -> None:
    world = World(2)
    world.all_serve()
    world.passes(STEADY)
    world.started[1].exit = exit_status
    world.supervisor.tick()
    assert [fake.number for fake in world.started] == [1, 2, 2]
    assert world.started[1].closed
    assert world.started[0].exit is None


def test_one_that_dies_at_start_is_retried_with_longer_waits_while_the_others_live() -> None:
    world = World(2)
    world.started[0].serve()
    starts = [world.now]
    for _ in range(7):
        world.started[-1].exit = 1
        before = len(world.started)
        world.supervisor.tick()
        while len(world.started) == before:
            world.passes(0.5)
        starts.append(world.now)
    waits = [round(later - earlier) for earlier, later in itertools.pairwise(starts)]
    assert waits == [1, 2, 4, 8, 16, 30, 30]
    assert world.started[0].exit is None
    # One good life, and the next death is the first again.
    world.all_serve()
    world.passes(STEADY)
    world.started[-1].exit = 1
    before = len(world.started)
    world.supervisor.tick()
    assert len(world.started) == before + 1


def test_one_that_serves_and_dies_young_again_and_again_waits_too() -> None:
    world = World(1)
    waits = []
    for _ in range(4):
        world.all_serve()
        world.started[-1].exit = 1
        died, before = world.now, len(world.started)
        world.supervisor.tick()
        while len(world.started) == before:
            world.passes(0.5)
        waits.append(world.now - died)
    assert waits == [0, 1, 2, 4]


def test_one_that_served_and_then_does_not_start_begins_with_a_second() -> None:
    world = World(1)
    world.all_serve()
    world.started[0].exit = -9
    world.supervisor.tick()
    world.started[1].exit = 1
    world.supervisor.tick()
    world.passes(0.5)
    assert len(world.started) == 2
    world.passes(0.5)
    assert len(world.started) == 3


def test_when_no_worker_ever_served_and_each_has_failed_the_supervisor_ends() -> None:
    world = World(2)
    world.started[0].exit = 1
    world.supervisor.tick()
    assert world.supervisor.exit_status is None
    world.started[1].exit = 1
    world.supervisor.tick()
    assert world.supervisor.exit_status == 1


def test_a_machine_that_is_out_of_processes_is_a_failure_like_others() -> None:
    world = World(2)
    world.all_serve()
    world.failing = True
    world.started[1].exit = -9
    world.passes(4)
    assert len(world.started) == 2
    world.failing = False
    world.passes(4)
    assert len(world.started) == 3


def test_a_frozen_worker_is_asked_where_it_is_killed_and_replaced(log: pytest.LogCaptureFixture) -> None:
    world = World(2)
    world.all_serve()
    stuck = world.started[1]
    stuck.serving, stuck.answer = True, "message: pipelines.stuck.Stuck.message (stuck.py:7), client abc"
    stuck.beats = world.now - 1.5  # from here on it gives no beats
    silent_since = stuck.beats
    world.passes(30)
    assert stuck.asked == 1
    assert stuck.exit == -9
    assert [fake.number for fake in world.started] == [1, 2, 2]
    frozen = next(record.getMessage() for record in log.records if "did not respond" in record.getMessage())
    assert "worker 2 (pid 101)" in frozen
    assert "pipelines.stuck.Stuck.message (stuck.py:7), client abc" in frozen
    assert silent_since + FROZEN < world.now


def test_one_that_cannot_even_answer_is_killed_after_a_moment(log: pytest.LogCaptureFixture) -> None:
    world = World(1)
    world.all_serve()
    world.started[0].beats = world.now - 1.5
    world.passes(FROZEN)
    assert world.started[0].asked == 1
    assert world.started[0].exit is None
    world.passes(ANSWER)
    assert world.started[0].exit == -9
    assert "re.py:12 match" in log.text


def test_after_a_standstill_of_the_whole_machine_nobody_is_killed() -> None:
    world = World(1)
    world.all_serve()
    world.now += 3600
    world.supervisor.tick()
    assert world.started[0].asked == 1
    world.started[0].answer = "hub.py:1"
    world.started[0].beat()
    world.passes(60)
    assert world.started[0].exit is None
    assert world.started[0].asked == 1


def test_a_long_start_is_allowed_and_an_endless_one_is_not() -> None:
    world = World(1)
    world.passes(START)
    assert world.started[0].asked == 0
    world.passes(ANSWER + 1)
    assert world.started[0].exit == -9


def test_a_signal_lets_all_drain_and_the_status_is_0() -> None:
    world = World(3)
    world.all_serve()
    for fake in world.started:
        fake.stubborn = True
    world.supervisor.stop()
    assert not world.listening
    assert [fake.sent for fake in world.started] == [[signal.SIGTERM]] * 3
    world.started[0].exit = 0
    world.passes(1)
    assert world.supervisor.exit_status is None
    assert len(world.started) == 3
    world.started[1].exit = world.started[2].exit = 0
    world.supervisor.tick()
    assert world.supervisor.exit_status == 0


def test_a_worker_that_does_not_drain_in_time_is_killed_and_the_status_is_1() -> None:
    world = World(2)
    world.all_serve()
    world.started[1].stubborn = True
    world.supervisor.stop()
    world.passes(25 + GRACE - 1)
    assert world.started[1].exit is None
    world.passes(2)
    assert world.started[1].exit == -9
    assert world.supervisor.exit_status == 1


def test_a_second_signal_ends_at_once() -> None:
    world = World(2)
    world.all_serve()
    world.started[0].stubborn = world.started[1].stubborn = True
    world.supervisor.stop()
    world.supervisor.stop()
    assert [fake.exit for fake in world.started] == [-9, -9]
    assert world.supervisor.exit_status == 1


def test_a_signal_while_workers_start_and_one_waits() -> None:
    world = World(2)
    world.started[0].exit = 1
    world.supervisor.tick()
    world.supervisor.stop()
    world.passes(1)
    assert world.supervisor.exit_status == 0
    assert len(world.started) == 2


def test_only_workers_that_serve_and_stay_take_part_in_a_reload() -> None:
    world = World(2)
    world.started[0].serve()
    world.supervisor.tick()
    assert world.supervisor.serving() == [world.started[0].pid]
    world.supervisor.stop()
    assert world.supervisor.serving() == []


def test_workers_are_renewed_one_after_the_other_and_the_next_serves_before_the_old_one_leaves() -> None:
    world = World(2)
    world.all_serve()
    world.passes(1)
    for fake in world.started:
        fake.stubborn = True
    world.supervisor.renew()
    world.passes(1)
    first, second, successor = world.started
    assert successor.number == 1
    assert first.sent == second.sent == []
    successor.serve()
    world.passes(1)
    assert first.sent == [signal.SIGTERM]
    assert len(world.started) == 3  # the first is still there
    first.exit = 0
    world.passes(1)
    assert [fake.number for fake in world.living] == [2, 1, 2]
    world.started[3].serve()
    world.passes(1)
    second.exit = 0
    world.passes(5)
    assert [fake.number for fake in world.living] == [1, 2]
    assert world.supervisor.exit_status is None


def test_a_successor_that_does_not_start_leaves_the_others_alone(log: pytest.LogCaptureFixture) -> None:
    world = World(2)
    world.all_serve()
    world.passes(1)
    world.supervisor.renew()
    world.passes(1)
    world.started[2].exit = 78
    world.passes(60)
    assert len(world.started) == 3
    assert world.living == world.started[:2]
    assert "ended with 78 before it served" in log.text


def test_an_old_worker_that_dies_while_its_successor_starts_is_not_replaced_twice() -> None:
    world = World(1)
    world.all_serve()
    world.passes(1)
    world.supervisor.renew()
    world.passes(1)
    world.started[0].exit = -9
    world.passes(1)
    world.all_serve()
    world.passes(60)
    assert len(world.started) == 2
    assert world.living == [world.started[1]]


def test_renewing_again_meanwhile_renews_those_of_before_too() -> None:
    world = World(1)
    world.all_serve()
    world.passes(1)
    world.supervisor.renew()
    world.passes(1)
    world.supervisor.renew()
    world.all_serve()
    world.passes(1)
    assert len(world.started) == 3
    world.all_serve()
    world.passes(5)
    assert len(world.started) == 3
    assert world.living == [world.started[2]]


def test_the_stack_that_c_code_leaves() -> None:
    dump = """Current thread 0x00007f (most recent call first):
  File "/usr/lib/python3.11/re/__init__.py", line 166 in match
  File "/srv/pipelines/stuck.py", line 7 in message
  File "/srv/fws/pipeline/pipeline.py", line 55 in run
"""
    assert trail_of(dump) == "pipeline.py:55 run > stuck.py:7 message > __init__.py:166 match"
    assert trail_of("") == ""


def test_a_process_that_serves_already_is_the_first_worker_and_is_renewed_like_one() -> None:
    """The server in the supervisor's own process, before a handover."""
    world = World(1)
    present = Fake(1, 7, world)
    present.serve()
    world.started.clear()
    world.announced = 0
    world.supervisor = Supervisor(
        1,
        world.launch,
        drain=25,
        clock=lambda: world.now,
        serving=world.announce,
        unlisten=world.unlisten,
        present=present,
    )
    world.passes(1)
    assert (world.started, world.announced, world.supervisor.serving()) == ([], 0, [7])
    world.supervisor.renew()
    world.passes(1)
    world.started[0].exit = 78
    world.passes(5)
    assert len(world.started) == 1
    assert (world.supervisor.exit_status, present.sent) == (None, [])
    world.supervisor.renew()
    world.passes(1)
    world.all_serve()
    world.passes(1)
    assert present.sent == [signal.SIGTERM]
    assert present.closed
    assert world.supervisor.serving() == [world.started[1].pid]


def test_a_signal_while_a_successor_starts_ends_both_and_reports_no_failure(log: pytest.LogCaptureFixture) -> None:
    world = World(1)
    world.all_serve()
    world.passes(1)
    world.supervisor.renew()
    world.passes(1)
    world.supervisor.stop()
    assert [fake.sent for fake in world.started] == [[signal.SIGTERM]] * 2
    world.supervisor.renew()
    world.passes(1)
    assert world.supervisor.exit_status == 0
    assert "before it served" not in log.text


def test_renewing_again_after_a_successor_has_read_a_broken_file_starts_another() -> None:
    world = World(1)
    world.all_serve()
    world.passes(1)
    world.supervisor.renew()
    world.passes(1)
    world.supervisor.renew()
    world.started[1].exit = 78
    world.passes(1)
    assert len(world.started) == 3
    world.all_serve()
    world.passes(1)
    assert world.living == [world.started[2]]

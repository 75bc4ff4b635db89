"""The scoreboard: which workers are alive, and which have more connections than others."""

from __future__ import annotations

import tempfile

import pytest

from fws.workers.scoreboard import LATE, Scoreboard


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
        made = Scoreboard(file.fileno(), 4, clock)
    for row in range(4):
        made.clear(row)
    return made


def test_two_maps_of_one_file_show_the_same(clock: Clock) -> None:
    with tempfile.TemporaryFile() as file:
        one, two = Scoreboard(file.fileno(), 2, clock), Scoreboard(file.fileno(), 2, clock)
    one.beat(1, 7)
    assert two.heard(1) == 100
    assert two.serves(1)


def test_a_row_is_heard_before_it_serves_and_not_after_it_is_cleared(board: Scoreboard) -> None:
    assert board.heard(0) == 0
    assert not board.serves(0)
    board.beat(0, None)
    assert board.heard(0) == 100
    assert not board.serves(0)
    board.beat(0, 0)
    assert board.serves(0)
    board.clear(0)
    assert board.heard(0) == 0
    assert not board.serves(0)


def test_a_worker_that_is_ahead_leaves_connections_to_others(board: Scoreboard) -> None:
    board.beat(0, 10)
    board.beat(1, 100)
    assert not board.is_ahead(0, 10)
    assert not board.is_ahead(1, 14)
    assert board.is_ahead(1, 15)
    # Of thousands a few more or less are nothing.
    board.beat(0, 1000)
    assert not board.is_ahead(1, 1100)
    assert board.is_ahead(1, 1101)


def test_nothing_is_left_to_one_that_is_frozen_or_leaving_nor_by_one_alone(board: Scoreboard, clock: Clock) -> None:
    assert not board.is_ahead(1, 500)
    board.beat(0, 0)
    assert board.is_ahead(1, 500)
    clock.now += LATE
    assert not board.is_ahead(1, 500)
    board.beat(0, None)
    assert not board.is_ahead(1, 500)

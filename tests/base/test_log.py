"""The log: lines are short and cannot be forged, floods are folded, and the server never waits."""

from __future__ import annotations

import io
import json
import logging
from typing import TypeAlias

import pytest

from fws.base.log import FoldingHandler, Json, Text, escape, shorten


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


Log: TypeAlias = tuple[logging.Logger, io.StringIO, Clock, FoldingHandler]


@pytest.fixture
def log() -> Log:
    stream, clock = io.StringIO(), Clock()
    handler = FoldingHandler(stream, clock)
    handler.setFormatter(Text())
    logger = logging.Logger("fws.test", logging.INFO)
    logger.addHandler(handler)
    return logger, stream, clock, handler


def test_control_characters_are_escaped() -> None:
    assert escape("a\nb\x1b[31m\x00\x9b\u202e\u2028") == "a\\nb\\x1b[31m\\x00\\x9b\\u202e\\u2028"


@pytest.mark.parametrize("text", ["x" * 1000, "ü" * 1000, "🎉" * 1000])
def test_lines_have_at_most_300_bytes(text: str, log: Log) -> None:
    logger, stream, _, _ = log
    logger.info(text)
    line = stream.getvalue().rstrip("\n")
    assert 290 < len(line.encode()) <= 300
    assert line.endswith("…")
    assert len(shorten(text).encode()) <= 300


@pytest.mark.parametrize("text", ["x" * 1000, '"' * 1000, "\\" * 1000, "🎉\n" * 500])
def test_json_lines_are_json_of_at_most_300_bytes(text: str) -> None:
    line = Json().format(logging.LogRecord("fws.test", logging.WARNING, "", 0, text, (), None))
    assert len(line.encode()) <= 300
    assert json.loads(line)["level"] == "warning"


def test_the_same_line_again_is_counted(log: Log) -> None:
    logger, stream, clock, handler = log
    for _ in range(1000):
        logger.info("again")
    logger.info("another")
    assert stream.getvalue().count("again") == 1
    clock.now = 2.0
    handler.settle()
    assert "again (and 999 more times)" in stream.getvalue()
    logger.info("again")
    assert len(stream.getvalue().splitlines()) == 4


def test_counts_are_not_lost_at_the_end(log: Log) -> None:
    logger, stream, _, handler = log
    logger.info("x")
    logger.info("x")
    handler.flush()
    assert "(and 1 more times)" in stream.getvalue()


def test_a_full_disk_does_not_hurt(log: Log) -> None:
    logger, stream, _, handler = log
    with open("/dev/full", "w") as full:
        handler._stream = full
        logger.info("nowhere to go")
        handler._stream = stream
        with pytest.raises(OSError, match="No space"):
            full.close()
    stream.close()
    logger.info("a closed stream")


def test_a_message_that_cannot_be_formatted_does_not_hurt(log: Log) -> None:
    logger, stream, _, _ = log
    logger.info("%d", "text")
    logger.info("next")
    assert "next" in stream.getvalue()


def test_a_line_that_would_wait_is_lost(log: Log) -> None:
    logger, stream, _, handler = log
    handler._ready = lambda stream: False
    logger.info("lost")
    handler._ready = lambda stream: True
    logger.info("kept")
    assert "lost" not in stream.getvalue()
    assert "kept" in stream.getvalue()


def test_a_megabyte_is_cut_before_anyone_looks_at_it(log: Log) -> None:
    """Fault: a client's text in an exception blocked the event loop for a second, and its key took a megabyte."""
    logger, stream, _, handler = log
    logger.error("failed: %s", "\x01" * 1_000_000)
    assert len(stream.getvalue()) <= 301
    assert all(len(text) <= 300 for _, _, text in handler._seen)


def test_of_one_cause_ten_lines_a_second_are_written_and_the_rest_counted(log: Log) -> None:
    logger, stream, clock, handler = log
    for number in range(1000):
        logger.info("line %d", number)
        logger.info("of client %d", number % 100, extra={"cause": number % 100})
    lines = stream.getvalue().splitlines()
    assert sum("line" in line for line in lines) == 10
    # One that floods takes nobody else's lines.
    assert sum("of client" in line for line in lines) == 100
    clock.now = 1.5
    handler.settle()
    assert "line 999 (the last of 990 more like it)" in stream.getvalue()
    logger.info("line again")
    assert "line again" in stream.getvalue()


@pytest.mark.slow
def test_a_flood_of_causes_is_one(log: Log) -> None:
    logger, stream, _, _ = log
    for number in range(5000):
        logger.info("line %d", number, extra={"cause": number})
    assert len(stream.getvalue().splitlines()) <= 1010


def test_loggers_of_filters_and_libraries_show_their_name(log: Log) -> None:
    _, stream, _, handler = log
    logger = logging.Logger("pipelines.chat")
    logger.addHandler(handler)
    logger.warning("no nickname")
    assert stream.getvalue().endswith(" warning pipelines.chat: no nickname\n")


def test_an_exception_is_one_line(log: Log) -> None:
    """Fault: `logger.exception` in a filter showed the message without the error."""
    logger, stream, _, _ = log
    try:
        raise ValueError("seven")
    except ValueError:
        logger.exception("cannot count")
    assert stream.getvalue().endswith(" error   cannot count: ValueError: seven\n")


def test_arguments_that_do_not_fit_lose_no_line(log: Log) -> None:
    """Fault: such a line disappeared."""
    logger, stream, _, _ = log
    logger.info("%d of %d", "one")
    assert "%d of %d ('one',)" in stream.getvalue()

"""The log: lines are short and cannot be forged, floods are folded, and the server never waits."""

from __future__ import annotations

import io
import json
import logging
import re
from pathlib import Path
from typing import TypeAlias

import pytest

from fws.base.fields import FIELDS
from fws.base.log import FoldingHandler, Json, Text, escape, shorten
from fws.base.trace import TraceContext, current


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


def test_half_a_character_does_not_end_the_counting(log: Log) -> None:
    """The greenlet that writes the counts ended with a UnicodeEncodeError, and a later line was lost."""
    logger, stream, clock, handler = log
    for _ in range(2):
        logger.info("half \ud800 of it " + "x" * 300)
    clock.now = 2.0
    handler.settle()
    assert "half \\ud800 of it xxx" in stream.getvalue()
    assert "(and 1 more times)" in stream.getvalue()


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
    assert all(len(text) <= 300 for _, _, text, _ in handler._seen)


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


def record(text: str, **extra: object) -> logging.LogRecord:
    made = logging.LogRecord("fws.test", logging.WARNING, "", 0, text, (), None)
    made.__dict__.update(extra)
    return made


def test_a_line_about_a_client_has_its_id_in_both_forms() -> None:
    assert Text().format(record("too slow", client="q3Vx")).endswith(" warning too slow (client q3Vx)")
    assert Text().format(record("client q3Vx is too slow", client="q3Vx")).endswith(" client q3Vx is too slow")
    line = json.loads(Json().format(record("too slow", client="q3Vx", code=1013, event="message")))
    assert {"client": "q3Vx", "code": 1013, "event": "message", "message": "too slow"}.items() <= line.items()


@pytest.mark.parametrize("text", ["x" * 1000, '"' * 1000, "🎉\n" * 500])
def test_the_message_is_cut_before_the_fields_of_a_client(text: str) -> None:
    fields = {
        "client": "q3VxAbCdEf12",
        "event": "message",
        "status": 403,
        "error": ValueError(text),
        "address": "2001:db8:ffff:ffff:ffff:ffff:ffff:ffff",
        "user": text,
        "path": text,
    }
    encoded = Json().format(record(text, **fields))
    assert len(encoded.encode()) <= 300
    line = json.loads(encoded)
    assert (line["client"], line["event"], line["status"], line["error"]) == (
        "q3VxAbCdEf12",
        "message",
        403,
        "ValueError",
    )
    assert len(line["message"].encode()) >= 10
    shown = Text().format(record(text, **fields))
    assert len(shown.encode()) <= 300
    assert shown.endswith(" (client q3VxAbCdEf12)")


def test_what_clients_choose_is_escaped_in_fields() -> None:
    line = Json().format(record("hi", client="a", user="\x1b[31m\nann\u202e"))
    assert json.loads(line)["user"] == "\\x1b[31m\\nann\\u202e"
    assert "\\u001b" not in line


def test_fields_of_libraries_with_other_types_are_left_out() -> None:
    """Fault to guard against: `extra={"client": socket}` of a library would call its `__str__`, which may raise."""
    line = json.loads(Json().format(record("hi", client=object(), status="200", code=True, error="no exception")))
    assert line.keys() == {"time", "level", "logger", "message"}


def test_the_same_line_about_another_client_is_another_line(log: Log) -> None:
    logger, stream, _, _ = log
    for client in ("ann", "bob", "ann"):
        logger.info("refused", extra={"client": client})
    lines = [line.partition(" info    ")[2] for line in stream.getvalue().splitlines()]
    assert lines == ["refused (client ann)", "refused (client bob)"]


def test_a_line_of_a_traced_event_has_its_trace(log: Log) -> None:
    class Span:
        context = TraceContext("4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7")

        def resumption(self, rest: object) -> object:
            return rest

    logger, stream, _, handler = log
    handler.setFormatter(Json())
    token = current.set(Span())
    logger.info("traced", extra={"client": "ann"})
    current.reset(token)
    logger.info("not traced", extra={"client": "ann"})
    first, second = map(json.loads, stream.getvalue().splitlines())
    assert (first["trace_id"], first["span_id"]) == ("4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7")
    assert "trace_id" not in second


def test_a_line_of_a_native_thread_has_its_client(log: Log) -> None:
    _, stream, _, handler = log
    handler.setFormatter(Json())
    handler.write_past(logging.WARNING, "fws", "the event loop is blocked by message: x, client q3Vx", "q3Vx")
    assert json.loads(stream.getvalue())["client"] == "q3Vx"


def test_the_page_of_the_log_has_each_field() -> None:
    page = (Path(__file__).parents[2] / "docs" / "logs.md").read_text()
    rows = re.findall(r"^\| `(\w+)` \| (.+) \|$", page, re.MULTILINE)
    assert rows == [(field.name, field.help) for field in FIELDS]

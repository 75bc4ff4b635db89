"""The log: one line per event, short, safe to print, and never a flood.

    22:13:11 info    listening on ws://127.0.0.1:9000/
    22:13:14 warning pipelines.chat: no nickname was given
    22:13:15 warning DeprecationWarning: use datetime.now(UTC) (stats.py:12)

Everything that uses the standard library's `logging` or `warnings` ends up here, including a user's filters and their
libraries. A line has at most 300 bytes, and control characters in it are escaped. A line about a client shows its id,
and as JSON has it in a field of its own (`fws.base.fields`). A line that is repeated within a second is counted instead
of printed. So are more than ten lines per second from one place in the code. The server never stops because the log
cannot be written.
"""

from __future__ import annotations

import io
import logging
import re
import sys
import time
import traceback
import warnings
from collections.abc import Callable
from os.path import basename
from typing import Any, TextIO

import msgspec

from fws.base.brief import message_of
from fws.base.fields import LONGEST, NUMBERS, found
from fws.base.times import rfc3339
from fws.base.trace import current, fields

MAX_LINE = 300
# Bytes that are left for the message of a line with many fields.
LEAST_MESSAGE = 60
# Seconds in which the repetitions of a line are folded.
FOLD = 1.0
# The most lines of one cause in this time. Further ones are counted.
PER_CAUSE = 10
# The logger of warnings. `logging.captureWarnings` uses the same name.
WARNINGS = "py.warnings"
# The most distinct lines that are remembered for folding. An attacker who can cause more can make each line different.
MAX_REMEMBERED = 1000

_UNPRINTABLE = re.compile(
    r"[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069\ufeff\ud800-\udfff]"
)


def escape(text: str) -> str:
    """The text with everything escaped that could forge a line or control a terminal."""
    return _UNPRINTABLE.sub(lambda match: match[0].encode("unicode_escape", "surrogatepass").decode("ascii"), text)


def shorten(text: str, limit: int = MAX_LINE) -> str:
    """At most `limit` bytes of UTF-8, cut at a character, with a mark if something is missing."""
    data = text.encode("utf-8", "backslashreplace")  # `escape` need not have been called for half a character yet
    return text if len(data) <= limit else data[: limit - 3].decode("utf-8", "ignore") + "…"


class Text(logging.Formatter):
    """`22:13:11 warning the message`, and `22:13:11 warning [2] the message` of worker 2.

    The id of the client follows where the message does not have it: `22:13:11 warning the message (client q3Vx)`.
    """

    def __init__(self, worker: int = 0) -> None:
        super().__init__()
        self._worker = f"[{worker}] " if worker else ""

    def format(self, record: logging.LogRecord) -> str:
        clock = time.strftime("%H:%M:%S", time.localtime(record.created))
        # The names of fws's own loggers add nothing to their messages.
        name = "" if _is_own(record.name) else f"{record.name}: "
        text = escape(f"{clock} {record.levelname.lower():7} {self._worker}{name}{record.getMessage()}")
        client = _field("client", found(record).get("client", ""))
        line = shorten(text)
        if not client or str(client) in line:
            return line
        mark = f" (client {client})"
        return shorten(text, MAX_LINE - len(mark.encode())) + mark


class Json(logging.Formatter):
    """One JSON object per line. `fws.base.fields` has its fields. Those of the client are never cut for the message."""

    def __init__(self, worker: int = 0) -> None:
        super().__init__()
        self._worker = worker

    def format(self, record: logging.LogRecord) -> str:
        when = rfc3339(record.created)
        line: dict[str, Any] = {"time": when, "level": record.levelname.lower(), "logger": escape(record.name[:60])}
        if self._worker:
            line["worker"] = self._worker
        line["message"] = ""
        room = MAX_LINE - len(msgspec.json.encode(line))
        more: dict[str, Any] = {}
        for name, value in found(record).items():
            field = _field(name, value)
            room -= len(msgspec.json.encode({name: field})) - 1
            if room < LEAST_MESSAGE and name != "client":
                break
            more[name] = field
        line["message"] = shorten(escape(record.getMessage()), MAX_LINE)
        while len(encoded := msgspec.json.encode(line | more)) > MAX_LINE and line["message"]:
            # A quote or a backslash takes two bytes.
            most = len(line["message"].encode()) - max((len(encoded) - MAX_LINE) // 2, 4)
            line["message"] = shorten(line["message"], most) if most > 4 else ""
        return encoded.decode()


def _field(name: str, value: str | int) -> str | int:
    """A value as it is shown. Of a number that no code or status can be, nothing is."""
    if name in NUMBERS:
        return value if -(10**6) < int(value) < 10**6 else 0
    return shorten(escape(str(value)[:MAX_LINE]), LONGEST[name])


def _is_own(name: str) -> bool:
    return name in ("fws", WARNINGS) or name.startswith("fws.")


FORMATS: dict[str, type[Text | Json]] = {"text": Text, "json": Json}


class FoldingHandler(logging.Handler):
    """Writes lines to a stream. Repetitions of a line within `FOLD` seconds are counted, and then printed as a number.

    Two lines are the same if their logger, level, text and client are. If different lines have the same cause,
    `PER_CAUSE` of them are written in that time, and then the number of further ones. The cause is the place in the
    code, together with `extra={"cause": …}` if that is given, such as one client of many.
    """

    def __init__(
        self,
        stream: TextIO,
        clock: Callable[[], float] = time.monotonic,
        ready: Callable[[TextIO], bool] = lambda stream: True,
    ) -> None:
        """Write to `stream` if `ready(stream)` says that it accepts a line without blocking. Other lines are lost."""
        super().__init__()
        self._stream = stream
        self._ready = ready
        self._clock = clock
        # By line: the time of the first, the number of repetitions, and the last record.
        self._seen: dict[tuple[str, int, str, str], list[Any]] = {}
        # By cause: the time of the first, the number of written lines, the number of further ones, and the last record.
        self._causes: dict[tuple[str, int, str], list[Any]] = {}

    def emit(self, record: logging.LogRecord) -> None:
        try:
            now = self._clock()
            self.settle(now)
            text = _text_of(record)
            record.msg, record.args = text, ()
            if (traced := current.get()) is not None:
                record.__dict__.update(fields(traced.context))
            key = (record.name, record.levelno, text, str(found(record).get("client", ""))[:MAX_LINE])
            seen = self._seen.get(key)
            if seen is not None:
                seen[1] += 1
                seen[2] = record
                return
            if self._is_too_many(record, now):
                return
            if len(self._seen) < MAX_REMEMBERED:
                self._seen[key] = [now, 0, record]
            self._write(self.format(record))
            error = _error_of(record)
            if error is not None and logging.getLogger("fws").isEnabledFor(logging.DEBUG):
                for line in traceback.format_exception(error):
                    for part in line.rstrip("\n").split("\n"):
                        self._write(self._detail(record, part))
        except Exception:  # an error of the log must not reach its caller
            pass

    def _detail(self, record: logging.LogRecord, text: str) -> str:
        """A line of the traceback that follows a line. In a log of JSON it is an object as well."""
        if not isinstance(self.formatter, Json):
            return shorten("    " + escape(text))
        detail = logging.makeLogRecord(record.__dict__)
        detail.msg, detail.levelno, detail.levelname = f"    {text[:MAX_LINE]}", logging.DEBUG, "DEBUG"
        return self.format(detail)

    def _is_too_many(self, record: logging.LogRecord, now: float) -> bool:
        cause = (record.pathname, record.lineno, str(getattr(record, "cause", ""))[:MAX_LINE])
        if cause not in self._causes and len(self._causes) >= MAX_REMEMBERED:
            cause = ("", 0, "")  # too many causes are a flood as well
        counts = self._causes.get(cause)
        if counts is None:
            self._causes[cause] = [now, 1, 0, record]
            return False
        if counts[1] < PER_CAUSE:
            counts[1] += 1
            return False
        counts[2] += 1
        counts[3] = record
        return True

    def settle(self, now: float | None = None) -> None:
        """Print the counts of lines whose time is over. Called by the next line, and regularly by the server."""
        if not self._causes:
            return
        now = self._clock() if now is None else now
        for cause in [cause for cause, counts in self._causes.items() if now - counts[0] >= FOLD]:
            _, _, more, record = self._causes.pop(cause)
            if more:
                line = logging.makeLogRecord(record.__dict__)
                line.msg, line.args = f"{shorten(record.getMessage(), 200)} (the last of {more} more like it)", ()
                self._write(self.format(line))
        for key in [key for key, seen in self._seen.items() if now - seen[0] >= FOLD]:
            _, more, record = self._seen.pop(key)
            if more:
                line = logging.makeLogRecord(record.__dict__)
                line.msg, line.args = f"{shorten(record.getMessage(), 200)} (and {more} more times)", ()
                self._write(self.format(line))

    def flush(self) -> None:
        """Print all remaining counts."""
        self.settle(float("inf"))

    def write_past(self, level: int, name: str, text: str, client: str = "") -> None:
        """Write one line from a native thread, which must not acquire locks that greenlets hold.

        Args:
            client: the id of the client that the line is about.
        """
        record = logging.LogRecord(name, level, "", 0, text[:MAX_LINE], (), None)
        record.client = client
        self._write(self.format(record))

    def _write(self, line: str) -> None:
        try:
            if not self._ready(self._stream):
                return
            self._stream.write(line + "\n")
            self._stream.flush()
        except (OSError, ValueError, io.UnsupportedOperation):
            pass


def _text_of(record: logging.LogRecord) -> str:
    """The message and then the error of `logger.exception`, shortened before anything reads all of it.

    The text may be a client's, and a megabyte long. Arguments that do not fit the message are shown as they are.
    """
    try:
        text = record.getMessage()[:MAX_LINE]
    except Exception:
        text = f"{record.msg!s} {record.args!r}"[:MAX_LINE]
    error = _error_of(record)
    if error is not None and not hasattr(record, "error"):
        text = f"{text}: {type(error).__name__}: {message_of(error)}"[:MAX_LINE]
    return text


def _error_of(record: logging.LogRecord) -> BaseException | None:
    """The exception of a line. fws attaches it as `error`, and the standard library as `exc_info`."""
    if record.exc_info:
        return record.exc_info[1]
    error: BaseException | None = getattr(record, "error", None)
    return error


def _show_warning(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,
    line: str | None = None,
) -> None:
    """Write a warning to the log. Python's -W and PYTHONWARNINGS have decided that it is shown."""
    logging.getLogger(WARNINGS).warning("%s: %s (%s:%d)", category.__name__, message, basename(filename), lineno)


def set_up(format: str, level: str, ready: Callable[[TextIO], bool], worker: int = 0) -> FoldingHandler:
    """Make all loggers of the process, and its warnings, write to standard error.

    If the root logger has a handler already, because a script configures logging itself, it is left unchanged. fws's
    own loggers then write to standard error.

    Args:
        format: `text` or `json`.
        level: `debug`, `info`, `warning` or `error`.
        ready: whether the stream accepts a line without blocking.
        worker: the number of the worker that lines show; 0 for none.
    """
    handler = FoldingHandler(sys.stderr, ready=ready)
    handler.setFormatter(FORMATS[format](worker))
    own, root = logging.getLogger("fws"), logging.getLogger()
    for logger in (own, root):
        for old in [old for old in logger.handlers if isinstance(old, FoldingHandler)]:
            logger.removeHandler(old)
    own.propagate = not root.handlers
    # The root logger receives the lines of a filter's `logging.getLogger(__name__)` and of its libraries.
    target = root if own.propagate else own
    target.addHandler(handler)
    target.setLevel(level.upper())
    if target is root:
        warnings.showwarning = _show_warning
    # A handler that fails must not print its own traceback.
    logging.raiseExceptions = False
    return handler

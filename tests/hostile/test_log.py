"""The log: lines that attackers cause are short and few and cannot be forged, and nothing waits for the log."""

from __future__ import annotations

import contextlib
import os
import re
import struct
from pathlib import Path

import pytest

from tests.hostile.attack import SECONDS, flood, meanwhile, repeat, until
from tests.hostile.bystander import Bystander
from tests.integration.conftest import Running, Serve
from tests.integration.raw import CLOSE, TEXT, Raw, frame, request

LOGS = """
[pipelines]
message = ["echo"]
[endpoints."/log"]
connect = ["log"]
message = ["log", "echo"]
disconnect = ["log"]
"""


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "log"


def into(log: Path) -> tuple[str, ...]:
    """The command that makes the server write its log to this file."""
    return ("sh", "-c", 'exec "$@" 2<>"$0"', str(log))


def test_a_flood_of_lines(serve: Serve, log: Path) -> None:
    server = serve(LOGS, inside=into(log))
    same = frame(TEXT, b"the same") * 500
    other = b"".join(frame(TEXT, b"%06d" % number + b"x" * 5000) for number in range(500))
    with contextlib.ExitStack() as stack:
        stack.enter_context(Bystander(server))
        for data in (same, same, other, other):
            sock = stack.enter_context(server.connect())
            Raw(sock, "/log")
            stack.enter_context(meanwhile(lambda _, sock=sock, data=data: flood(sock, data)))
    until(lambda: "more like it)" in log.read_text() and "more times)" in log.read_text())
    lines = log.read_text().splitlines()
    # Ten lines a second of each client, and one that tells how many more there were.
    assert 4 < len(lines) < 4 * 11 * (SECONDS + 4)
    assert all(len(line.encode()) <= 300 for line in lines)


EVIL = [
    "two\nlines",
    "12:00:00 info    forged\r\n12:00:00 error   forged",
    "\x1b[2J\x1b[31mred\x07\b\b",
    "\x00\x7f\x9b",
    "\u2028\u2029\u202e\u2066bidi",
    "x" * 100_000,
    "é" * 1000,
    "%s %d {client.id} ${HOME}",
]


LINES = {
    "text": r"\d\d:\d\d:\d\d (debug  |info   |warning|error  ) [ -~\u00a1-\uffff]*",
    "json": r'\{"time":"[^"]+","level":"\w+","logger":"fws[a-z.]*","message":"[ -~\u00a1-\uffff]*"\}',
}


@pytest.mark.parametrize("form", LINES)
def test_no_line_is_forged(serve: Serve, log: Path, form: str) -> None:
    server = serve(LOGS, "--log-format", form, "--log-level", "debug", inside=into(log), ready=form == "text")
    if form == "json":
        until(lambda: log.exists() and "listening on" in log.read_text())
        server.port = int(re.findall(r"listening on \S+:(\d+)", log.read_text())[0])

    def come() -> None:
        for evil in EVIL:
            with server.connect() as sock:
                raw = Raw(sock, "/log")
                raw.send(TEXT, evil.encode())
                assert raw.receive() == (TEXT, evil.encode())
                raw.send(CLOSE, struct.pack("!H", 4000) + evil.encode()[:120].decode("utf-8", "ignore").encode())
                raw.close_code()
            with server.connect() as sock:
                escaped = "".join(f"%{byte:02x}" for byte in evil.encode()[:1000])
                sock.sendall(request(f"/{escaped}?{escaped}", f"Origin: https://evil.example/{escaped}"))
                sock.recv(4096)
            with server.connect() as sock, contextlib.suppress(ConnectionError):
                sock.sendall(request("/", f"X-Evil: {evil[:100]}", f"Origin: {evil[:100]}"))
                sock.recv(4096)

    with Bystander(server):
        repeat(come, hands=4)
    # Not splitlines, which would end a line at U+2028 as well.
    for line in log.read_text().removesuffix("\n").split("\n"):
        assert len(line.encode()) <= 300, line
        assert re.fullmatch(LINES[form], line), line
        assert not re.search("[\u2028\u2029\u202a-\u202e\u2066-\u2069]", line), line


def test_a_log_pipe_that_nobody_reads_stops_nothing(serve: Serve, log: Path) -> None:
    os.mkfifo(log)
    server = serve(LOGS, inside=into(log))
    end = os.open(log, os.O_RDWR | os.O_NONBLOCK)
    try:
        with contextlib.suppress(BlockingIOError):
            while os.write(end, b"x" * 4096):
                pass
        with Bystander(server, "/log"):
            repeat(lambda: _talk(server), hands=4)
        assert server.stop() == 0
    finally:
        os.close(end)


def test_a_full_disk_stops_nothing(serve: Serve) -> None:
    server = serve(LOGS, inside=into(Path("/dev/full")))
    with Bystander(server, "/log"):
        repeat(lambda: _talk(server), hands=4)
    assert server.stop() == 0


def _talk(server: Running) -> None:
    """Connect, send something that is logged, and disconnect."""
    with server.connect() as sock:
        raw = Raw(sock, "/log")
        for number in range(10):
            message = b"%d " % number + b"x" * 3000
            raw.send(TEXT, message)
            assert raw.receive() == (TEXT, message)

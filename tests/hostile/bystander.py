"""A bystander: a well-behaved client that echoes every 10 ms, and its waiting time while others attack.

    with Bystander(server):
        attack()

ends the test if one echo took longer than 100 ms. The server is measured, and not the machine. The bystander is a
process of its own, so that it does not wait for the lock of the attacker's interpreter. The following is subtracted
from each wait:

* the time in which the server's thread could run but had no processor. The kernel counts this for each thread (the
second number in /proc/PID/task/TID/schedstat). A server that computes, sleeps or waits has none;
* the same for the bystander, while it sends and after the echo has arrived;
* the time in which the whole machine was suspended. The bystander wakes up every 5 ms and notices when it could not,
although it had its processor. Or the time that other guests of the same machine had (steal in /proc/stat), whichever is
more.

If the kernel counts none of this, nothing is subtracted. tests/hostile/test_bystander.py checks both: a server that
hangs is noticed, and the server is not blamed for a busy machine.
"""

from __future__ import annotations

import json
import os
import select
import socket
import ssl
import subprocess
import sys
import time
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from tests.integration.raw import CLOSE, PING, PONG, TEXT, Raw, frame

if TYPE_CHECKING:
    from tests.integration.conftest import Running

LIMIT = 0.1
INTERVAL = 0.01
# Fewer echoes than this say nothing: it goes on until it has them.
FEWEST = 10
_LOOK = 0.005
_PATIENCE = 15.0
_OWN = Path("/proc/self/schedstat")
_TICKS = os.sysconf("SC_CLK_TCK")
_ROOT = Path(__file__).parents[2]


class Bystander:
    """Echoes while a `with` block runs.

    Args:
        server: the server to connect to.
        path: the path of an endpoint that echoes.
        inside: a command that runs the bystander's command, such as in another network namespace.
        limit: seconds that an echo may take; None if the test checks the result itself.
        address, source: the address of the server, and the address to connect from.

    Attributes:
        worst: after the end, the longest wait that the server has caused, in seconds.
        longest: the longest wait without subtractions.
        echoes: the number of echoes.
    """

    def __init__(
        self,
        server: Running,
        path: str = "/",
        *,
        inside: tuple[str, ...] = (),
        address: str = "127.0.0.1",
        source: str = "",
        limit: float | None = LIMIT,
    ) -> None:
        self.worst = self.longest = 0.0
        self.echoes = 0
        self._limit = limit
        given = {
            "address": address,
            "port": server.port,
            "path": path,
            "pid": server.process.pid,
            "source": source,
            "tls": server.tls is not None,
        }
        if server.tls is not None:
            given["ca"] = ssl.DER_cert_to_PEM_cert(server.tls.get_ca_certs(binary_form=True)[0])
        self._process = subprocess.Popen(
            [*inside, sys.executable, "-S", "-m", "tests.hostile.bystander", json.dumps(given)],
            cwd=_ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def __enter__(self) -> Bystander:
        assert self._process.stdout is not None
        if self._process.stdout.readline() != "ready\n":
            self._end()
            raise AssertionError("the bystander was not let in")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        report = self._end()
        self.worst, self.longest, self.echoes = report["worst"], report["longest"], report["echoes"]
        said = (
            f"the bystander waited {self.worst * 1000:.1f} ms at most ({self.longest * 1000:.1f} ms with the machine's "
            f"part), {report['when']:.2f} s after its beginning; {self.echoes} echoes"
        )
        print(said)
        if error is None:
            assert not report["fault"], f"{report['fault']}; {said}"
            assert self._limit is None or self.worst < self._limit, said

    def _end(self) -> dict[str, Any]:
        """Stop it and read its report."""
        try:
            said, _ = self._process.communicate(timeout=2 * _PATIENCE)
        except subprocess.TimeoutExpired:
            self._process.kill()
            said, _ = self._process.communicate()
        fault = f"the bystander's process failed: {said!r}"
        missing = {"worst": float("inf"), "longest": float("inf"), "echoes": 0, "when": 0.0, "fault": fault}
        return json.loads(said) if said.startswith("{") else missing


class Echoes:
    """The bystander inside its process.

    Args:
        sock: a connected socket, with TLS if the server uses it.
        pid: the pid of the server.
    """

    def __init__(self, sock: socket.socket, path: str, pid: int) -> None:
        self._raw = Raw(sock, path)
        self._server = Path(f"/proc/{pid}/task/{pid}/schedstat")
        self._number = 0
        sock.setblocking(False)
        self._poll = select.poll()
        self._poll.register(sock, select.POLLIN)

    def once(self) -> tuple[float, float]:
        """Send a message and wait for its echo. Returns how long it took, and the server's part of it.

        Raises:
            EOFError: the server has ended the connection.
            TimeoutError: there was no echo.
        """
        self._number += 1
        message = b"%08d" % self._number
        server, steal, own = _starved(self._server), _steal(), _starved(_OWN)
        began = time.monotonic()
        self._say(TEXT, message)
        mine, stood = _starved(_OWN) - own, 0.0
        looked_own = own + mine
        while not self._heard(message):
            looked, looked_own = time.monotonic(), _starved(_OWN)
            if looked - began > _PATIENCE:
                raise TimeoutError
            self._poll.poll(_LOOK * 1000)
            stood += max(0.0, time.monotonic() - looked - _LOOK - (_starved(_OWN) - looked_own))
        wait = time.monotonic() - began
        mine += _starved(_OWN) - looked_own
        stolen = max((now - then for now, then in zip(_steal(), steal, strict=False)), default=0.0)
        return wait, max(0.0, wait - (_starved(self._server) - server) - mine - max(stood, stolen))

    def _say(self, opcode: int, payload: bytes) -> None:
        self._raw.sock.send(frame(opcode, payload))

    def _heard(self, message: bytes) -> bool:
        """Whether the echo has arrived."""
        raw = self._raw
        try:
            while data := raw.sock.recv(4096):
                raw.buffer += data
            raise EOFError
        except (BlockingIOError, ssl.SSLWantReadError):
            pass
        while len(raw.buffer) >= 2 and len(raw.buffer) >= 2 + raw.buffer[1]:
            opcode, payload = raw.receive()
            if opcode == TEXT and payload == message:
                return True
            if opcode == CLOSE:
                raise EOFError(payload)
            if opcode == PING:
                self._say(PONG, payload)
        return False


def _starved(schedule: Path) -> float:
    """Seconds since its start in which a thread could run and had no processor."""
    try:
        return int(schedule.read_text().split()[1]) / 1e9
    except (OSError, ValueError, IndexError):
        return 0.0


def _steal() -> list[float]:
    """Seconds since the start of the machine that other guests had each of our processors."""
    try:
        lines = [line.split() for line in Path("/proc/stat").read_text().split("\n") if line.startswith("cpu")]
        return [int(fields[8]) / _TICKS for fields in lines[1:]]
    except (OSError, ValueError, IndexError):
        return []


def _is_over(echoes: int) -> bool:
    """Sleep for the interval, or until standard input ends."""
    ended = bool(select.select([sys.stdin], [], [], INTERVAL)[0])
    if ended and echoes < FEWEST:
        time.sleep(INTERVAL)
    return ended and echoes >= FEWEST


def main(given: dict[str, Any]) -> None:
    """Echo until standard input ends, and then print the report."""
    source = (given["source"], 0) if given["source"] else None
    sock = socket.create_connection((given["address"], given["port"]), _PATIENCE, source)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if given["tls"]:
        sock = ssl.create_default_context(cadata=given["ca"]).wrap_socket(sock, server_hostname="localhost")
    echoes = Echoes(sock, given["path"], given["pid"])
    echoes.once()
    print("ready", flush=True)
    report: dict[str, Any] = {"worst": 0.0, "longest": 0.0, "echoes": 0, "when": 0.0, "fault": ""}
    began = time.monotonic()
    try:
        while not _is_over(report["echoes"]):
            asked = time.monotonic()
            wait, worst = echoes.once()
            report["echoes"] += 1
            report["longest"] = max(report["longest"], wait)
            if worst > report["worst"]:
                report["worst"], report["when"] = worst, asked - began
    except (OSError, EOFError) as error:
        report["fault"] = f"the bystander lost its connection: {type(error).__name__} {error}"
    print(json.dumps(report), flush=True)


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))

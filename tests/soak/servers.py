"""The processes of the soak and their resources: two nodes and a Redis between them, in a folder of their own."""

from __future__ import annotations

import os
import re
import shutil
import signal
import ssl
import statistics
import time
from pathlib import Path

import msgspec
from cryptography import x509

from tests.certificates import Authority
from tests.integration.conftest import Running
from tests.integration.redis_server import RedisServer

CONF = """
[server]
listen = "127.0.0.1:0"
compression = true
drain = "20s"
[redis]
url = "${REDIS_URL}"
[endpoints."/room/{room}"]
connect = ["soak.who", "soak.recent", "join room:{room}"]
message = ["soak.recent", "broadcast room:{room}"]
[endpoints."/waiting/{room}"]
connect = ["soak.who", "soak.recent", "join room:{room}"]
message = ["soak.pause", "soak.recent", "broadcast room:{room}"]
[endpoints."/flood"]
connect = ["soak.who", "join room:flood"]
message = ["broadcast room:flood"]
max_outbox = "256KiB"
[channels."kept:*"]
history = 10000
[endpoints."/kept"]
positions = true
connect = ["soak.who", "join kept:all since=request.query.since"]
[endpoints."/keep"]
connect = ["soak.who"]
message = ["publish kept:all"]
[endpoints."/echo"]
connect = ["soak.who"]
message = ["echo"]
[endpoints."/census"]
connect = ["soak.census"]
"""
# Of the time that a process has lived: what passes before it is looked at, and how long it is looked at then and at
# its end. One that has lived for less than a quarter of the run is not judged.
WARM_UP, WINDOW, LIFE = 0.25, 0.15, 0.25


class Sample(msgspec.Struct, frozen=True):
    """The resources of a process at a time: seconds, resident MiB, proportional MiB, open files."""

    time: float
    rss: float
    pss: float
    files: int


def sample(pid: int, now: float) -> Sample | None:
    """None if the process has ended."""
    try:
        rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
        files = len(os.listdir(f"/proc/{pid}/fd"))
    except OSError:
        return None
    return Sample(now, _mib(rollup, "Rss"), _mib(rollup, "Pss"), files)


def _mib(rollup: str, name: str) -> float:
    found = re.search(rf"(?m)^{name}: +(\d+) kB", rollup)
    assert found is not None
    return int(found[1]) / 1024


class Watched:
    """A process and its samples."""

    def __init__(self, name: str, pid: int) -> None:
        self.name = name
        self.pid = pid
        self.samples: list[Sample] = []

    def look(self) -> None:
        found = sample(self.pid, time.monotonic())
        if found is not None:
            self.samples.append(found)

    @property
    def life(self) -> float:
        return self.samples[-1].time - self.samples[0].time if self.samples else 0.0

    def windows(self) -> tuple[list[Sample], list[Sample]]:
        """The samples after the warm-up, and the last ones."""
        born = self.samples[0].time
        start, end = born + WARM_UP * self.life, born + (1 - WINDOW) * self.life
        first = [one for one in self.samples if start <= one.time <= start + WINDOW * self.life]
        return first or self.samples, [one for one in self.samples if one.time >= end]

    def medians(self, field: str) -> tuple[float, float]:
        first, last = self.windows()
        return tuple(statistics.median(getattr(one, field) for one in window) for window in (first, last))


class Servers:
    """Redis, `alone` (one process, TLS) and `both` (a supervisor with two workers)."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "conf").mkdir(parents=True)
        (folder / "conf" / "soak.toml").write_text(CONF)
        shutil.copytree(Path(__file__).parent / "pipelines", folder / "pipelines")
        self.authority = Authority(folder)
        cert, key = self.authority.sign()
        self.context = ssl.create_default_context(cafile=self.authority.file)
        self.redis = RedisServer(folder / "redis")
        environ = {"REDIS_URL": self.redis.url}
        command = ["run", str(folder / "conf" / "soak.toml")]
        self.alone = Running([*command, "--cert", str(cert), "--key", str(key)], folder, environ, tls=self.context)
        self.both = Running([*command, "--workers", "2"], folder, environ)
        self.watched: list[Watched] = []
        try:
            self.alone.ready()
            self.both.ready()
            self._wait_for_workers(2)
        except BaseException:
            self.end()
            raise
        self.watched += [Watched("alone", self.alone.process.pid), Watched("supervisor", self.both.process.pid)]
        self._watch_workers()

    def _workers(self) -> list[int]:
        return [int(pid) for pid in re.findall(r"\(pid (\d+)\) serves", self.both.output)]

    def _wait_for_workers(self, count: int) -> None:
        self.both.wait_for(rf"(?s)(?:worker \d+ \(pid \d+\) serves.*){{{count}}}", 30)

    def _watch_workers(self) -> None:
        known = {one.pid for one in self.watched}
        for number, pid in enumerate(self._workers(), 1):
            if pid not in known:
                self.watched.append(Watched(f"worker {number}", pid))

    def look(self) -> None:
        self._watch_workers()
        for one in self.watched:
            one.look()

    @property
    def alive(self) -> set[int]:
        return {one.pid for one in self.watched if Path(f"/proc/{one.pid}").exists()}

    @property
    def pids(self) -> set[int]:
        """Processes that have clients."""
        return {self.alone.process.pid, *self._workers()[-2:]}

    def new_certificate(self) -> None:
        """Sign and load another certificate. Blocks until new connections get it."""
        self.authority.sign()
        self.alone.signal(signal.SIGHUP)
        until = time.monotonic() + 30
        while self._shown() != self.serial():
            assert time.monotonic() < until, self.alone.output
            time.sleep(0.1)

    def _shown(self) -> str:
        with self.alone.connect() as sock:
            assert isinstance(sock, ssl.SSLSocket)
            return str((sock.getpeercert() or {})["serialNumber"])

    def serial(self) -> str:
        """The number of the certificate, as `ssl` shows it."""
        number = x509.load_pem_x509_certificate((self.folder / "localhost.pem").read_bytes()).serial_number
        digits = f"{number:X}"
        return digits.zfill(len(digits) + len(digits) % 2)

    def renew_workers(self) -> None:
        """Renew the workers. Blocks until the old ones are gone."""
        renewed = self.both.output.count("all workers have been renewed")
        self.both.signal(signal.SIGUSR2)
        self.both.wait_for(rf"(?s)(?:all workers have been renewed.*){{{renewed + 1}}}", 90)

    @property
    def logs(self) -> str:
        return f"{self.alone.output}\n{self.both.output}"

    def stop(self) -> list[int]:
        """Send SIGTERM. Returns the exit statuses."""
        return [one.stop(30) for one in (self.alone, self.both)]

    def end(self) -> None:
        self.alone.end()
        self.both.end()
        self.redis.kill()

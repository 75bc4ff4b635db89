"""What webhooks cost: the time for each message in the filter, and the deliveries to a service on this machine.

    python bench/webhooks.py [--events 20000]

The service is another process that answers each request at once. Starts its own service and Redis. Prints Markdown.
"""

from __future__ import annotations

import argparse
import contextlib
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from gevent import monkey

monkey.patch_all()

import gevent  # noqa: E402

from fws.filters.webhook import Webhook  # noqa: E402
from fws.http.url import Url  # noqa: E402
from fws.journals.redis import RedisJournal  # noqa: E402
from fws.pipeline.component import Setting  # noqa: E402
from fws.pipeline.services import Services  # noqa: E402
from fws.redis.connector import Connector  # noqa: E402
from fws.runtime.scheduler import Scheduler  # noqa: E402
from fws.storages.redis import RedisStorage  # noqa: E402
from process import free_port  # noqa: E402

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
MESSAGE = {"type": "chat", "text": "x" * 80}
CLIENT: Any = SimpleNamespace(
    id="AbCdEfGhIjKlMnOp",
    address="192.0.2.1",
    path="/chat",
    identity={"user": "ann"},
    call=SimpleNamespace(channel=""),
)
# A service that reads whole requests and answers each, in a process whose standard library is not patched.
SERVICE = r"""
import asyncio, sys
async def handle(reader, writer):
    try:
        while True:
            head = await reader.readuntil(b"\r\n\r\n")
            length = head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0]
            await reader.readexactly(int(length))
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
    except (asyncio.IncompleteReadError, ConnectionError):
        pass
async def main():
    async with await asyncio.start_server(handle, "127.0.0.1", int(sys.argv[1])) as server:
        await server.serve_forever()
asyncio.run(main())
"""


@contextlib.contextmanager
def running(*command: str) -> Iterator[None]:
    """A process, which has half a second to start."""
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    try:
        time.sleep(0.5)
        yield
    finally:
        process.terminate()
        process.wait()


def webhook(port: int, url: str = "", **options: Any) -> Webhook:
    """A filter as a server has it."""
    scheduler = Scheduler()
    services = Services()
    services.spawn, services.after = scheduler.spawn, scheduler.after
    if url:
        services.storage = RedisStorage(Connector(url), "bench:")
        services.journal = RedisJournal(services.storage)
    options = {"most": 1_000_000, "most_bytes": 1 << 30} | options
    instance = Webhook(Url.parse(f"http://127.0.0.1:{port}/"), secret=(SECRET,), **options)
    instance.services = services
    instance.prepare(Setting(Path(), {}))
    instance.start()
    return instance


def in_the_filter(instance: Webhook, events: int) -> float:
    """Microseconds for each message, while the service hangs."""
    for _ in range(10):
        instance.message(CLIENT, MESSAGE)
    gevent.sleep(0.2)
    began = time.perf_counter()
    for _ in range(events):
        instance.message(CLIENT, MESSAGE)
    return (time.perf_counter() - began) / events * 1e6


def deliveries(instance: Webhook, events: int) -> tuple[float, float]:
    """Deliveries a second, and microseconds of processor time for each."""
    metrics = instance.services.metrics
    began, used = time.perf_counter(), time.process_time()
    for _ in range(events):
        instance.message(CLIENT, MESSAGE)
    while metrics["webhooks_delivered"] < events:
        gevent.sleep(0.01)
    took, used = time.perf_counter() - began, time.process_time() - used
    instance.stop()
    return events / took, used / events * 1e6


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--events", type=int, default=20_000)
    events = parser.parse_args().events
    port, redis = free_port(), free_port()
    url = f"redis://127.0.0.1:{redis}"
    with (
        socket.create_server(("127.0.0.1", 0), backlog=100) as hanging,
        tempfile.TemporaryDirectory() as folder,
        running(sys.executable, "-c", SERVICE, str(port)),
        running("redis-server", "--port", str(redis), "--save", "", "--dir", folder),
    ):
        print("| in the filter | µs for each message |\n| --- | ---: |")
        for name, place in (("without Redis", ""), ("with Redis", url)):
            print(f"| {name} | {in_the_filter(webhook(hanging.getsockname()[1], place), events):.1f} |")
        print("\n| to a local service | events/s | CPU µs each |\n| --- | ---: | ---: |")
        for options in ({}, {"at_once": 16}, {"batch": 10}, {"batch": 100}):
            for name, place in (("", ""), (", Redis", url)):
                rate, used = deliveries(webhook(port, place, order="none", **options), events)
                words = " ".join(f"{key}={value}" for key, value in options.items()) or "one by one"
                print(f"| {words}{name} | {rate:,.0f} | {used:.0f} |", flush=True)


if __name__ == "__main__":
    main()

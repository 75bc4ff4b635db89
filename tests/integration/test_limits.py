"""Nothing is left of clients who have gone."""

from __future__ import annotations

import json
import os
import socket
import time
import urllib.request
from pathlib import Path

import pytest

from tests.integration.conftest import Running, Serve
from tests.integration.raw import TEXT, Raw, request


def clients_of(server: Running) -> int:
    return int(json.load(urllib.request.urlopen(server.page + "/healthz", context=server.tls))["clients"])


def until(condition: object, seconds: float = 10) -> float:
    begin = time.monotonic()
    while not condition():  # type: ignore[operator]
        assert time.monotonic() - begin < seconds
        time.sleep(0.02)
    return time.monotonic() - begin


LEFT = """
import gc
from greenlet import greenlet
from fws import Filter


class Left(Filter):
    def connect(self, client):
        gc.collect()
        client.send({"greenlets": sum(isinstance(one, greenlet) for one in gc.get_objects())})
"""


def memory_of(server: Running) -> int:
    status = Path(f"/proc/{server.process.pid}/status").read_text()
    return int(next(line for line in status.split("\n") if line.startswith("VmRSS")).split()[1])


@pytest.mark.parametrize("tls", [False, True], ids=["ws", "wss"], indirect=True)
def test_who_has_gone_leaves_nothing(serve: Serve) -> None:
    """Clients that close, that reset and that never finish their request."""
    cycles = int(os.environ.get("FWS_CYCLES", "1500"))
    toml = '[pipelines]\nmessage = ["echo"]\n[endpoints."/left"]\nconnect = ["left"]\n'
    server = serve(toml, pipelines={"left": LEFT})

    def left() -> tuple[int, int, int]:
        with server.connect() as sock:
            greenlets = json.loads(Raw(sock, "/left").receive()[1])["greenlets"]
        return greenlets, len(os.listdir(f"/proc/{server.process.pid}/fd")), memory_of(server)

    def cycle(number: int) -> None:
        with server.connect() as sock:
            if number % 3 == 2:
                sock.sendall(request()[:40])
                return
            raw = Raw(sock)
            raw.send(TEXT, b"x")
            assert raw.receive() == (TEXT, b"x")
            if number % 3:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")

    for number in range(min(cycles, 500)):
        cycle(number)
    until(lambda: clients_of(server) == 0)
    time.sleep(0.5)
    greenlets, descriptors, memory = left()
    for number in range(cycles):
        cycle(number)
    until(lambda: clients_of(server) == 0)
    time.sleep(0.5)
    after = left()
    was = (greenlets, descriptors, memory)
    print(f"{cycles} cycles: greenlets, descriptors and KiB {was} -> {after}")
    assert after[0] <= greenlets + 2
    assert after[1] <= descriptors + 2
    assert after[2] - memory < 3 * 1024

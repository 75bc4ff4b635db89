"""Many lean WebSocket clients in one process of their own: each sends numbered messages, and returns when it is closed.

    python -m tests.integration.crowd PORT PATH COUNT PACE

It tells `{"connected": …}` when all have connected, and ends when its standard input does. Then it tells what has
happened: how many messages were sent, how many answered, when connections were closed and opened again, and everything
that a client must not see.
"""

from __future__ import annotations

import collections
import heapq
import itertools
import json
import random
import resource
import selectors
import socket
import struct
import sys
import time
from collections.abc import Callable
from typing import Any

from tests.integration.raw import CLOSE, PING, PONG, TEXT, frame, request

# Seconds within which a client returns, as the SDKs do; seconds for the answers in the end.
RETURN = 0.2
PATIENCE = 5.0


class Crowd:
    """Clients on one selector, which also runs their timers."""

    def __init__(self, port: int, path: str, count: int, pace: float) -> None:
        self.address = ("127.0.0.1", port)
        self.path = path
        self.pace = pace
        self.selector = selectors.DefaultSelector()
        self.wrong: collections.Counter[str] = collections.Counter()
        self.closed: list[float] = []
        self.opened: list[float] = []
        self.slowest = 0.0
        self.ending = False
        self._timers: list[tuple[float, int, Callable[[], None]]] = []
        self._numbers = itertools.count()
        self.clients = [Client(self, number) for number in range(count)]

    def after(self, seconds: float, call: Callable[[], None]) -> None:
        heapq.heappush(self._timers, (time.monotonic() + seconds, next(self._numbers), call))

    def turn(self) -> None:
        for key, _ in self.selector.select(0.01):
            key.data()
        while self._timers and self._timers[0][0] <= time.monotonic():
            heapq.heappop(self._timers)[2]()

    def run(self) -> dict[str, Any]:
        for number, client in enumerate(self.clients):
            self.after(number / 1000, client.connect)
        self.selector.register(sys.stdin, selectors.EVENT_READ, self._hear)
        said = False
        while not self.ending:
            self.turn()
            if not said and all(client.is_open for client in self.clients):
                said = True
                print(json.dumps({"connected": len(self.clients)}), flush=True)
        until = time.monotonic() + PATIENCE
        while time.monotonic() < until and not all(client.is_content for client in self.clients):
            self.turn()
        return {
            "sent": sum(client.sent for client in self.clients),
            "answered": sum(client.answered for client in self.clients),
            "closed": self.closed,
            "opened": self.opened,
            "slowest": self.slowest,
            "wrong": self.wrong,
        }

    def _hear(self) -> None:
        self.selector.unregister(sys.stdin)
        self.ending = True


class Client:
    """One client, which connects again and again."""

    def __init__(self, crowd: Crowd, number: int) -> None:
        self.crowd = crowd
        self.number = number
        self.sent = self.answered = self.expected = 0
        self.is_open = False
        self._waits = False  # for its next message

    @property
    def is_content(self) -> bool:
        """Whether nothing more is to come."""
        return self.is_open and self.expected > self.sent

    def connect(self) -> None:
        self._began = time.monotonic()
        self._data = b""
        try:
            self._socket = socket.create_connection(self.crowd.address, timeout=PATIENCE)
            self._socket.sendall(request(self.crowd.path))
        except OSError as error:
            self._fails(f"cannot connect: {error}")
            return
        self._socket.setblocking(False)
        self.crowd.selector.register(self._socket, selectors.EVENT_READ, self._read)

    def _fails(self, why: str) -> None:
        self.crowd.wrong[why] += 1
        self._socket.close()
        self.crowd.after(RETURN, self.connect)

    def _leave(self) -> None:
        self.crowd.selector.unregister(self._socket)
        self._socket.close()
        self.is_open = False

    def _read(self) -> None:
        try:
            data = self._socket.recv(65536)
        except OSError as error:
            self._leave()
            self._fails(f"reset: {error}")
            return
        if not data:
            was_open = self.is_open
            self._leave()
            self._fails("ended without a Close" if was_open else f"no 101: {self._data[:40]!r}")
            return
        self._data += data
        if not self.is_open:
            head, mark, rest = self._data.partition(b"\r\n\r\n")
            if not mark:
                return
            if not head.startswith(b"HTTP/1.1 101 "):
                self._leave()
                self._fails(f"refused: {head[:40]!r}")
                return
            self._data, self.is_open = rest, True
            now = time.monotonic()
            self.crowd.opened.append(now)
            self.crowd.slowest = max(self.crowd.slowest, now - self._began)
            self.expected = self.sent + 1  # what the former connection left unanswered stays so
            if not self._waits:
                self._waits = True
                self.crowd.after(random.random() * self.crowd.pace, self._say)
        while len(self._data) >= 2 and len(self._data) >= 2 + self._data[1]:
            opcode, length = self._data[0] & 0x0F, self._data[1]
            payload, self._data = self._data[2 : 2 + length], self._data[2 + length :]
            self._take(opcode, payload)

    def _take(self, opcode: int, payload: bytes) -> None:
        if opcode == PING:
            self._socket.send(frame(PONG, payload))
        elif opcode == CLOSE:
            if struct.unpack("!H", payload[:2])[0] != 1001:
                self.crowd.wrong[f"closed: {payload!r}"] += 1
            self.crowd.closed.append(time.monotonic())
            self._socket.send(frame(CLOSE, payload))
            self._leave()
            self.crowd.after(random.random() * RETURN, self.connect)
        elif opcode == TEXT:
            if payload != b"%d %d" % (self.number, self.expected):
                self.crowd.wrong[f"expected {self.expected}, got {payload!r}"] += 1
            self.answered += 1
            self.expected += 1

    def _say(self) -> None:
        self._waits = False
        if self.crowd.ending or not self.is_open:
            return
        self.sent += 1
        self._socket.send(frame(TEXT, b"%d %d" % (self.number, self.sent)))
        self._waits = True
        self.crowd.after(self.crowd.pace, self._say)


def main() -> None:
    port, path, count, pace = sys.argv[1:]
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    print(json.dumps(Crowd(int(port), path, int(count), float(pace)).run()), flush=True)


if __name__ == "__main__":
    main()

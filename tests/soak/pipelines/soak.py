"""What the soak's servers do beside the built-in filters."""

import ctypes
import gc
import os
import time
from collections import deque
from typing import cast

import gevent
import greenlet

from fws import Client, Filter
from fws.channels.hub import Hub

RECENT = 20
LONGEST = 500


class Who(Filter):
    """Tell a new client which process has it."""

    waits = False

    def connect(self, client: Client) -> None:
        client.send(f"p|{os.getpid()}")


class Recent(Filter):
    """Keep the last messages of each room, and give them to who comes."""

    waits = False

    def start(self) -> None:
        self.rooms: dict[str, deque[str]] = {}

    def connect(self, client: Client) -> None:
        for message in self.rooms.get(client.request.params["room"], ()):
            client.send(f"h|{message}")

    def message(self, client: Client, message: str) -> None:
        if len(message) < LONGEST:
            self.rooms.setdefault(client.request.params["room"], deque(maxlen=RECENT)).append(message)


class Pause(Filter):
    """Wait a little for each message, as one does that asks somebody."""

    def message(self, client: Client, message: str) -> None:
        time.sleep(0.001)


class Census(Filter):
    """Tell what there is in this process, and give free memory back, so that what it still has is in use."""

    def connect(self, client: Client) -> None:
        gc.collect()
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # glibc's
        if trim is not None:
            trim(0)
        alive = sum(isinstance(one, greenlet.greenlet) and not one.dead for one in gc.get_objects())
        gevent.sleep(0)
        client.send(
            {
                "pid": os.getpid(),
                "greenlets": alive,
                "clients": len(cast(Hub, self.hub).everybody()),
                "channels": len(self.hub.channels()),
                "counters": self.services.metrics.all(),
            }
        )

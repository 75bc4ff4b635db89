"""The filters of the soak's servers."""

import ctypes
import gc
import os
import time
from collections import deque

import gevent
import greenlet

from fws import Client, Filter

RECENT = 20
LONGEST = 500


class Who(Filter):
    """Send a new client the number of its process."""

    waits = False

    def connect(self, client: Client) -> None:
        client.send(f"p|{os.getpid()}")


class Recent(Filter):
    """Keep the last messages of each room, and send them to new members."""

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
    """Block for a short time for each message, like a filter that asks a service."""

    def message(self, client: Client, message: str) -> None:
        time.sleep(0.001)


class Census(Filter):
    """Send figures of this process, and return free memory, so that only memory in use is left."""

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
                "clients": len(self.hub.clients),
                "channels": len(self.hub.channels()),
                "counters": self.services.metrics.all(),
            }
        )

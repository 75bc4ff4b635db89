"""Greenlets use a Redis that hangs, and some of them are killed. This runs in a patched process, like a server.

`test_redis.py` runs this, with the port and the pid of a `redis-server`. It prints how many of the later calls succeed.
"""

from __future__ import annotations

import os
import signal
import sys

import gevent

from fws.base.errors import StorageError
from fws.redis.client import CONNECTIONS
from fws.redis.connector import Connector
from fws.storages.redis import RedisStorage


def main(port: str, pid: int) -> None:
    storage = RedisStorage(Connector(f"redis://127.0.0.1:{port}"), "patched:")

    def ask() -> bool:
        try:
            return storage.increment("n") > 0
        except StorageError:
            return False

    for _ in range(5):
        os.kill(pid, signal.SIGSTOP)
        asking = [gevent.spawn(ask) for _ in range(2 * CONNECTIONS)]
        gevent.sleep(0.2)
        os.kill(pid, signal.SIGCONT)
        # In the loop's very turn in which turns become free, and before.
        for turn in range(10):
            for one in asking[turn::10]:
                one.kill(block=False)
            gevent.sleep(0)
        gevent.joinall(asking, timeout=10, raise_error=True)
    asking = [gevent.spawn(ask) for _ in range(2 * CONNECTIONS)]
    gevent.joinall(asking, timeout=10, raise_error=True)
    print(sum(bool(one.value) for one in asking))


main(sys.argv[1], int(sys.argv[2]))

"""Which clients are considered alive."""

from __future__ import annotations

import time

from websockets.sync.client import connect

from tests.integration.conftest import Serve

BUSY = '''
import time
from fws import Filter

class Busy(Filter):
    """Holds the loop for a second, as a computation does."""

    def message(self, client, message):
        if message == "compute":
            end = time.monotonic() + 1
            while time.monotonic() < end:
                pass
'''


def test_a_computation_longer_than_the_ping_timeout_costs_nobody_the_connection(serve: Serve) -> None:
    """https://github.com/python-websockets/websockets/issues/625: clients whose answers waited in the socket while the
    server computed were taken for dead."""
    server = serve(
        '[endpoints."/ws"]\nmessage = ["busy", "echo"]\n[limits]\nping_interval = "200ms"\nping_timeout = "300ms"\n',
        pipelines={"busy": BUSY},
    )
    with connect(server.url("/ws")) as one, connect(server.url("/ws")) as other:
        time.sleep(0.3)  # a ping is on its way to both
        one.send("compute")
        assert one.recv(10) == "compute"
        time.sleep(0.7)  # what would be ended now is ended
        for client in (one, other):
            client.send("alive")
            assert client.recv(10) == "alive"

"""Slow filters: their own client waits, and nobody else.

A filter that blocks the event loop makes everybody wait, which no server can prevent.
tests/integration/test_watchdog.py checks that the log names it.
"""

from __future__ import annotations

import contextlib
import time

from tests.hostile.attack import ECHO, descriptors, flood, meanwhile, memory, until
from tests.hostile.bystander import Bystander
from tests.integration.conftest import Serve
from tests.integration.raw import TEXT, Raw, frame

MIB = 1024
REST = """
import time
from fws import Filter


class Rest(Filter):
    def message(self, client, message):
        time.sleep(1)
"""
FALL = """
from fws import Filter


class Fall(Filter):
    def message(self, client, message):
        raise RuntimeError(message)
"""


def test_a_filter_that_waits_makes_only_its_own_client_wait_with_bounded_memory(serve: Serve) -> None:
    """One second per message stands for thirty. What a client sends meanwhile stays in the sockets."""
    server = serve(f'[endpoints."/slow"]\nmessage = ["rest", "echo"]{ECHO}', pipelines={"rest": REST})
    files = descriptors(server)
    number, size = 15, 100_000
    with Bystander(server), contextlib.ExitStack() as stack:
        raws = [Raw(stack.enter_context(server.connect()), "/slow") for _ in range(number)]
        before = memory(server)
        began = time.monotonic()
        with contextlib.ExitStack() as attack:
            for raw in raws:
                data = frame(TEXT, b"x" * size) * 20
                attack.enter_context(meanwhile(lambda _, raw=raw, data=data: flood(raw.sock, data, 0.5, reads=False)))
        # Twice the largest message for each is the bound; a message that waits and the next one's part are far below.
        assert memory(server) - before < number * 2 * MIB
        for raw in raws:
            raw.sock.settimeout(10)
            assert raw.receive() == (TEXT, b"x" * size)
        assert 0.9 < time.monotonic() - began < number / 2, "they do not wait for each other"
        assert memory(server) - before < number * 2 * MIB
    until(lambda: descriptors(server) <= files + 1)
    assert "Traceback" not in server.output


def test_a_filter_that_fails_at_each_message_costs_its_client_the_message(serve: Serve) -> None:
    server = serve(f'[endpoints."/fall"]\nmessage = ["fall", "echo"]{ECHO}', pipelines={"fall": FALL})
    with Bystander(server), server.connect() as sock:
        Raw(sock, "/fall")
        sent, heard = flood(sock, b"".join(frame(TEXT, b"fault %06d\n" % number) for number in range(2000)))
    assert sent > 10_000
    assert heard == b""
    server.wait_for(r"RuntimeError: fault 0+\d")
    # Ten lines a second of one cause, and one that tells of the others.
    assert len([line for line in server.lines if "RuntimeError" in line]) < 50

"""The measurement: a server that hangs is noticed, and is not blamed for a busy machine."""

from __future__ import annotations

import os
import subprocess
import sys
import time

import pytest

from tests.hostile.attack import ECHO
from tests.hostile.bystander import Bystander
from tests.integration.conftest import Serve
from tests.integration.raw import TEXT, Raw

HOLD = """
import time
from gevent.monkey import get_original
from fws import Filter


class Hold(Filter):
    def message(self, client, message):
        if message == "sleep":
            get_original("time", "sleep")(0.25)
        elif message == "compute":
            until = time.thread_time() + 0.25
            while time.thread_time() < until:
                pass
"""
HOG = "import time\nuntil = time.monotonic() + 2\nwhile time.monotonic() < until: pass"


@pytest.mark.parametrize("kind", ["sleep", "compute"])
def test_a_server_that_stands_still_is_seen(serve: Serve, kind: str) -> None:
    server = serve('[pipelines]\nmessage = ["hold", "echo"]\n', pipelines={"hold": HOLD})
    with server.connect() as sock:
        raw = Raw(sock)

        def watch() -> None:
            with Bystander(server):
                time.sleep(0.3)
                raw.send(TEXT, kind.encode())
                assert raw.receive() == (TEXT, kind.encode())

        with pytest.raises(AssertionError, match=r"the bystander waited [12]\d\d\.\d ms"):
            watch()


def test_a_server_that_gets_no_processor_is_not_to_blame(serve: Serve) -> None:
    """It shares one processor with processes that compute, and has the lowest priority."""
    server = serve(ECHO)
    processor = {min(os.sched_getaffinity(0))}
    with Bystander(server, limit=None) as bystander:
        hogs = [subprocess.Popen([sys.executable, "-c", HOG]) for _ in range(2)]
        try:
            for pid in (server.process.pid, *(hog.pid for hog in hogs)):
                os.sched_setaffinity(pid, processor)
            os.setpriority(os.PRIO_PROCESS, server.process.pid, 19)
            time.sleep(1.5)
        finally:
            for hog in hogs:
                hog.kill()
                hog.wait()
    assert bystander.longest > 2 * bystander.worst
    assert bystander.worst < 0.05

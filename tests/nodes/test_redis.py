from __future__ import annotations

import subprocess
import sys
from pathlib import Path

RUN = "from gevent import monkey; monkey.patch_all(); import sys, pytest; sys.exit(pytest.main(sys.argv[1:]))"


def test_the_nodes_at_redis() -> None:
    """Runs patched_redis.py in a process of its own, because its sockets must be gevent's."""
    file = Path(__file__).with_name("patched_redis.py")
    done = subprocess.run([sys.executable, "-c", RUN, str(file)], capture_output=True, text=True, cwd=file.parents[2])
    print(done.stdout)
    assert done.returncode == 0, done.stdout + done.stderr

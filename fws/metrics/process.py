"""What the operating system says about this process."""

from __future__ import annotations

import os
import resource
import time

from fws.metrics.snapshot import Snapshot

# The module is loaded when the process starts. The system's own time of the start needs the time of the boot.
_STARTED = time.time() - time.process_time()


def add_process(snapshot: Snapshot) -> None:
    """Add the metrics `process_`, as far as this system knows them."""
    snapshot.add("process_cpu_seconds_total", time.process_time())
    snapshot.add("process_start_time_seconds", round(_STARTED, 2))
    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if limit != resource.RLIM_INFINITY:
        snapshot.add("process_max_fds", limit)
    try:
        with open("/proc/self/statm") as file:
            pages = int(file.read().split()[1])
        snapshot.add("process_resident_memory_bytes", pages * resource.getpagesize())
        snapshot.add("process_open_fds", len(os.listdir("/proc/self/fd")) - 1)
    except (OSError, ValueError, IndexError):
        pass

"""The limit on open files, which bounds the number of connections."""

from __future__ import annotations

import logging
import resource

logger = logging.getLogger("fws")

# With fewer descriptors than this, a public server runs out of them before anything else.
LOW_FILE_LIMIT = 4096
# Descriptors that connections do not get. 16 of them are for rejecting connections over the limit.
RESERVE = 128


def capacity_of(clients: int) -> int:
    """The most connections: `clients`, or fewer if the limit on open files leaves too few for Redis, files and the log.

    The reserve is `RESERVE` descriptors, or a quarter of a low limit.
    """
    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return clients if limit == resource.RLIM_INFINITY else max(1, min(clients, limit - min(RESERVE, limit // 4)))


def raise_file_limit() -> None:
    """Raise the soft limit on open files to the hard one, because each client needs a file. Log a low limit."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
            soft = hard
        except (OSError, ValueError):
            pass
    if soft != resource.RLIM_INFINITY and soft < LOW_FILE_LIMIT:
        logger.warning("the limit on open files, %d, bounds the number of clients: raise it with `ulimit -n`", soft)

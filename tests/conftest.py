"""Which tests are pure, and which need the machine for themselves.

make test-fast   the pure tests: no other process, no browser, none slower than a second
make test        all tests: first those that can run in parallel, then those marked `alone`
"""

from __future__ import annotations

from pathlib import Path

import pytest

TESTS = Path(__file__).parent
# Folders and files whose tests start processes, or take more than a few milliseconds each.
NOT_PURE = (
    "cli",
    "fuzz",
    "hostile",
    "integration",
    "ops",
    "reports",
    "soak",
    "brokers/test_redis.py",
    "classic/test_server.py",
    "config/test_mutations.py",
    "filters/test_exec.py",
    "histories/test_redis.py",
    "journals/test_redis.py",
    "nodes/test_redis.py",
    "presence/test_redis.py",
    "storages/test_redis.py",
    "webhooks/test_keeper.py",
    "test_dist.py",
    "test_docs.py",
    "wire/test_native.py",
)
# What measures how long somebody waits, or how much memory is in use: other tests at the same time would disturb it.
ALONE = (
    "hostile",
    "soak",
    "integration/test_handover.py",
    "integration/test_memory.py",
    "integration/test_redis_load.py",
    "integration/test_watchdog.py",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    not_pure = tuple(TESTS / name for name in NOT_PURE)
    alone = tuple(TESTS / name for name in ALONE)
    for item in items:
        if any(item.path == path or path in item.path.parents for path in alone):
            item.add_marker("alone")
        if any(item.path == path or path in item.path.parents for path in not_pure):
            item.add_marker("process")
    # The long ones first, so that at the end no worker waits for another: pytest-xdist would begin with the files that
    # have the most tests.
    items.sort(key=lambda item: item.get_closest_marker("process") is None)

"""Measure what a rate limit costs, with buckets of the process and with buckets that all nodes share in Redis.

    python bench/limits.py [--quick]

The filter's hook is called in this process, without sockets. A `redis-server` of its own holds the shared buckets. The
round trips are the commands that Redis has counted. Prints Markdown.
"""

from __future__ import annotations

# The library must be patched before anything else is imported, as in a server.
from gevent import monkey

monkey.patch_all()

import argparse  # noqa: E402
import statistics  # noqa: E402
import time  # noqa: E402
from collections.abc import Callable  # noqa: E402
from types import SimpleNamespace  # noqa: E402
from typing import Any  # noqa: E402

import gevent  # noqa: E402
import redis  # noqa: E402

from fws import DROP, Services  # noqa: E402
from fws.filters._key import Key  # noqa: E402
from fws.filters.rate_limit import RateLimit  # noqa: E402
from fws.pipeline.call import MESSAGE  # noqa: E402
from fws.redis.connector import Connector  # noqa: E402
from fws.storages.redis import RedisStorage  # noqa: E402
from history import redis as redis_server  # noqa: E402

# What no message of the measurement exceeds.
HIGH = 1e6
CLIENT: Any = SimpleNamespace(id="c", address="192.0.2.1", identity={"user": "ann"}, state={}, call=MESSAGE)


def limit(by: str, rate: float = HIGH, burst: int = int(HIGH), url: str = "", key: str = "limit") -> RateLimit:
    """The filter of a node of its own."""
    made = RateLimit(rate=rate, burst=burst, by=Key.parse(by), store="shared" if url else "own", key=key)
    made.services = Services()
    if url:
        made.services.storage = RedisStorage(Connector(url), "fws:")
    return made


def microseconds(hook: Callable[[Any, Any], Any], count: int) -> float:
    """The median of some rounds, for one message."""
    rounds = []
    for _ in range(7):
        began = time.perf_counter()
        for _ in range(count):
            hook(CLIENT, "x")
        rounds.append((time.perf_counter() - began) / count * 1e6)
    return statistics.median(rounds)


def costs(url: str, count: int) -> None:
    print("| buckets | by | µs per message |\n| --- | --- | --- |")
    for by in ("client", "address", "user"):
        print(f"| own | {by} | {microseconds(limit(by).message, count):.2f} |")
    for by in ("address", "user"):
        print(f"| shared | {by} | {microseconds(limit(by, url=url).message, count):.2f} |")
    alone = limit("user", burst=1, url=url)
    print(f"| shared, each message asks | user | {microseconds(alone.message, count // 100):.0f} |")


def asked(url: str) -> int:
    with redis.Redis.from_url(url) as client:
        found: Any = client.info("commandstats")
    return int(found.get("cmdstat_eval", {}).get("calls", 0))


def round_trips(url: str, seconds: float) -> None:
    """Messages at nine tenths of the rate, and at three times the rate."""
    print("\n| rate | burst | nodes | messages | passed | round trips per 1,000 messages |")
    print("| --- | --- | --- | --- | --- | --- |")
    for rate, burst, nodes, load in (
        (1000, 1000, 1, 0.9),
        (1000, 1000, 4, 0.9),
        (1000, 1000, 4, 3.0),
        (100, 100, 1, 0.9),
        (100, 100, 4, 0.9),
        (20, 40, 1, 0.9),
        (20, 40, 2, 0.9),
    ):
        made = [limit("user", rate, burst, url, f"{rate}x{nodes}x{load}") for _ in range(nodes)]
        before, passed, count = asked(url), 0, round(rate * load * seconds)
        began = time.monotonic()
        for number in range(count):
            gevent.sleep(max(0.0, began + number / (rate * load) - time.monotonic()))
            passed += made[number % nodes].message(CLIENT, "x") is not DROP
        trips = (asked(url) - before) / count * 1000
        print(f"| {rate}/s | {burst} | {nodes} | {rate * load:,.0f}/s | {passed / count:.0%} | {trips:.0f} |")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--quick", action="store_true", help="fewer messages, for a look")
    quick = parser.parse_args().quick
    with redis_server() as url:
        costs(url, 5_000 if quick else 50_000)
        round_trips(url, 1.0 if quick else 5.0)


if __name__ == "__main__":
    main()

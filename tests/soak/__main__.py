"""Soak test of two nodes and a Redis: python -m tests.soak [--seconds 600].

It prints a line every 30 seconds and a table at the end. The exit status is 1 if a guarantee was broken.
"""

from __future__ import annotations

import argparse
import asyncio
import re
import resource
import sys
import tempfile
import time
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

from fws.runtime.greenlets import IDLE
from tests.soak.ledger import GRACE, Ledger
from tests.soak.servers import LIFE, Sample, Servers, Watched
from tests.soak.traffic import Site, World, census, come_and_go, doze, keep, path_of, remember, stay, want_echo

KIB = 1024
# MiB that may be more in the last window than in the one after the warm-up: a process wavers by 2, most of that large
# messages on their way. With TLS glibc keeps more and more pages that have little in use in them; that this is no leak
# shows in what is in use when all have left: 1 KiB for each client that has come, or 5 bytes for each message that was
# delivered, pass MAX_KEPT in ten minutes. A short run is all warm-up.
MAX_GROWTH, MAX_GROWTH_WITH_TLS, MAX_GROWTH_OF_SHORT, SHORT = 6.0, 16.0, 24.0, 300
# Seconds in which workers can be renewed and be seen to serve.
TINY = 10
# MiB, files and greenlets when everybody has left, beside what there was before anybody came.
MAX_KEPT, MAX_FILES, MAX_GREENLETS = 6.0, 3, 3 + IDLE
ROOMS, STAYING, COMING = 6, 72, 24
# What must be zero.
BROKEN = {
    "lost": "lost on one process",
    "lost between processes": "lost between processes while Redis was there",
    "torn": "torn",
    "duplicated": "duplicated",
    "out of order": "out of order for one sender",
    "wrong echoes": "echoes that were not what was sent, or never came",
    "refused": "connections refused",
    "cut off": "connections ended without a reason",
    "holes": "missing without a gap in a channel with history",
    "repeated": "twice or out of order there",
    "old certificates": "shown an old certificate after a reload",
}


class Soak:
    """One run. `rows` is the table at its end: what was measured, the figure, and whether it is as guaranteed (None
    without a guarantee).
    """

    def __init__(self, seconds: float, servers: Servers) -> None:
        self.seconds = seconds
        self.servers = servers
        self.ledger = Ledger()
        sites = [
            Site("alone", servers.alone.url("").rstrip("/"), servers.context),
            Site("both", servers.both.url("").rstrip("/"), None),
        ]
        self.world = World(self.ledger, sites, seed=int(seconds))
        self.rows: list[tuple[str, str, bool | None]] = []
        self.restarts = 0
        self._under_way: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        before = await self._census()
        await asyncio.sleep(1)
        for one in self.servers.watched:
            one.look()
        idle = [one.samples[-1] for one in self.servers.watched if one.pid in before]
        for one in self.servers.watched:
            one.samples.clear()
        started = time.monotonic()
        background = [asyncio.create_task(one) for one in (self._watch(), self._tell(started), *self._incidents())]
        world, sites = self.world, self.world.sites
        lasting = [
            *(
                stay(world, sites[number % 2], path_of(number // 2 % ROOMS), self._words, 0.2, number % 8 == 7)
                for number in range(STAYING)
            ),
            stay(world, sites[0], "/flood", lambda: "x" * 32_000, 0.05, False),
            *(want_echo(world, site, lambda: world.chance.randrange(2000), 0.1) for site in sites * 2),
            *(want_echo(world, site, lambda: world.chance.randrange(60 * KIB, 900 * KIB), 2.0) for site in sites * 2),
        ]
        passing = [
            *(remember(world, site) for site in sites * 3),
            *(keep(world, site) for site in sites),
            *(come_and_go(world, ROOMS) for _ in range(COMING)),
            *(doze(world, site) for site in [*sites, sites[1]]),
        ]
        staying = [asyncio.create_task(one) for one in lasting]
        coming = [asyncio.create_task(one) for one in passing]
        try:
            # None of these ends by itself: one that does has a fault, and it is the soak's.
            everything = [*staying, *coming, *background]
            done, _ = await asyncio.wait(everything, timeout=self.seconds, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
            spent = time.monotonic() - started
            for task in background:
                task.cancel()
            await asyncio.gather(*self._under_way)
            world.running = False
            await asyncio.gather(*coming)
            world.talking = False
            await asyncio.sleep(GRACE + 1)
            world.leaving = True
            await asyncio.gather(*staying)
        finally:
            for task in (*staying, *coming, *background):
                task.cancel()
        await asyncio.sleep(1)
        after = await self._census()
        for one in self.servers.watched:
            one.look()
        self._judge(spent, idle, before, after)
        statuses = await asyncio.to_thread(self.servers.stop)
        self.rows.append(("exit statuses after SIGTERM", " ".join(map(str, statuses)), statuses == [0, 0]))

    def _words(self) -> str:
        chance = self.world.chance
        return "é" * (4096 if chance.random() < 0.02 else chance.choice((0, 10, 60)))

    # What happens beside the traffic.

    def _incidents(self) -> list[Coroutine[Any, Any, None]]:
        """Redis is killed and started, and certificates and workers are renewed. Workers are renewed early, so that the
        last ones run for long.
        """
        short = self.seconds < SHORT
        return [
            self._repeat(self._restart_redis, (0.35,) if short else (0.08, 0.2, 0.33, 0.45, 0.55, 0.66, 0.76, 0.86)),
            self._repeat(self._renew_certificate, (0.2, 0.7) if short else (0.05, 0.25, 0.5, 0.7, 0.9)),
            self._repeat(self._renew_workers, (0.13, 0.27) if not short else (0.1,) if self.seconds >= TINY else ()),
        ]

    async def _repeat(self, incident: Callable[[], Coroutine[Any, Any, None]], fractions: tuple[float, ...]) -> None:
        started = time.monotonic()
        for fraction in fractions:
            await asyncio.sleep(max(0.0, started + fraction * self.seconds - time.monotonic()))
            task = asyncio.create_task(incident())
            self._under_way.add(task)
            await asyncio.shield(task)
        await asyncio.Event().wait()

    async def _restart_redis(self) -> None:
        went = time.monotonic()
        self.ledger.outages.append((went, None))
        await asyncio.to_thread(self.servers.redis.kill)
        await asyncio.sleep(1 + self.restarts % 4 * 2)
        await asyncio.to_thread(self.servers.redis.start)
        self.ledger.outages[-1] = (went, time.monotonic())
        self.restarts += 1

    async def _renew_certificate(self) -> None:
        self.world.serial = None  # until it is loaded either may be shown
        await asyncio.to_thread(self.servers.new_certificate)
        self.world.serial = (self.servers.serial(), time.monotonic())
        self.world.counts["certificates"] += 1

    async def _renew_workers(self) -> None:
        await asyncio.to_thread(self.servers.renew_workers)
        self.world.counts["renewals of workers"] += 1

    async def _watch(self) -> None:
        while True:
            await asyncio.to_thread(self.servers.look)
            await asyncio.sleep(min(3.0, self.seconds / 20))

    async def _tell(self, started: float) -> None:
        sent = delivered = 0
        last = started
        while True:
            await asyncio.sleep(30)
            counts, now = self.world.counts, time.monotonic()
            memory = ", ".join(
                f"{one.name} {one.samples[-1].rss:.0f}" for one in self.servers.watched if one.pid in self.servers.alive
            )
            wrong = ", ".join(f"{counts[name]} {name}" for name in BROKEN if counts[name]) or "nothing wrong"
            print(
                f"{now - started:4.0f} s: {self.world.present} clients of {counts['connections']}, "
                f"{(counts['sent'] - sent) / (now - last):.0f} sent/s, "
                f"{(counts['delivered'] - delivered) / (now - last):.0f} delivered/s, "
                f"{self.restarts} Redis restarts, {counts['renewals of workers']} renewals, "
                f"MiB: {memory}; {wrong}",
                flush=True,
            )
            sent, delivered, last = counts["sent"], counts["delivered"], now

    async def _census(self) -> dict[int, dict[str, Any]]:
        alone, both = self.world.sites
        alive = self.servers.pids
        first = await census(alone, {self.servers.alone.process.pid})
        return first | await census(both, alive - set(first))

    # The verdict.

    def _judge(
        self, spent: float, idle: list[Sample], before: dict[int, dict[str, Any]], after: dict[int, dict[str, Any]]
    ) -> None:
        counts = self.world.counts
        rows = self.rows
        rows += [
            ("messages sent to rooms", f"{counts['sent']:,}", None),
            ("delivered", f"{counts['delivered']:,}, {counts['delivered'] / spent:,.0f} a second", None),
            ("kept and delivered", f"{counts['kept']:,}, {counts['remembered']:,}, {counts['gaps']} gaps", None),
            ("echoes, to 900 KiB", f"{counts['echoes']:,}", None),
            ("connections", f"{counts['connections']:,}", None),
            ("of them asked to leave (1001) and back", f"{counts['asked to leave']:,}", None),
            ("Redis killed and started", f"{self.restarts}", self.restarts > 0),
            ("workers renewed, certificates", f"{counts['renewals of workers']}, {counts['certificates']}", None),
            *((name, f"{counts[name]:,}", None) for name in sorted(counts) if name.startswith(("churn: ", "slow: "))),
            (
                "lost between processes, Redis away",
                f"{counts['lost while Redis was away']:,}, the last {self.ledger.latest:.1f} s after it was back",
                None,
            ),
            *((what, f"{counts[name]:,}", counts[name] == 0) for name, what in BROKEN.items()),
        ]
        logs = self.servers.logs
        tracebacks = logs.count("Traceback")
        errors = len(re.findall(r"(?m)^.*\bERROR\b", logs))
        rows += [
            ("tracebacks in the logs", f"{tracebacks}", tracebacks == 0),
            ("errors in the logs", f"{errors}", errors == 0),
        ]
        for one in self.servers.watched:
            self._judge_memory(one)
        files, used = max(one.files for one in idle), max(one.rss for one in idle)
        least = min(report["greenlets"] for report in before.values())
        most = max(report["greenlets"] for report in before.values())
        for one in self.servers.watched:
            report = after.get(one.pid)
            if report is None:
                continue
            last = one.samples[-1]
            rows += [
                (
                    f"{one.name}: MiB in use when all have left",
                    f"RSS {last.rss:.1f} ({used:.1f} before, at most +{MAX_KEPT:g})",
                    last.rss <= used + MAX_KEPT,
                ),
                (f"{one.name}: files at the end", f"{last.files} ({files})", last.files <= files + MAX_FILES),
                (
                    f"{one.name}: greenlets at the end",
                    f"{report['greenlets']} ({least} to {most})",
                    report["greenlets"] <= most + MAX_GREENLETS,
                ),
                (
                    f"{one.name}: clients, channels",
                    f"{report['clients']}, {report['channels']}",
                    report["channels"] == 0,
                ),
                (f"{one.name}: counters", " ".join(f"{k}={v}" for k, v in report["counters"].items()), None),
            ]

    def _judge_memory(self, one: Watched) -> None:
        if one.life < LIFE * self.seconds:
            return
        bound = MAX_GROWTH_WITH_TLS if one.name == "alone" else MAX_GROWTH
        if self.seconds < SHORT:
            bound = MAX_GROWTH_OF_SHORT
        (first, last), (first_own, last_own) = one.medians("rss"), one.medians("pss")
        self.rows.append(
            (
                f"{one.name}: MiB after warm-up, at the end",
                f"RSS {first:.1f}, {last:.1f}; PSS {first_own:.1f}, {last_own:.1f} (at most +{bound:g})",
                last - first <= bound and last_own - first_own <= bound,
            )
        )


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.soak", description=__doc__)
    parser.add_argument("--seconds", type=float, default=600)
    seconds = parser.parse_args().seconds
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="fws-soak-") as folder:
        servers = Servers(Path(folder) / "run")
        try:
            soak = Soak(seconds, servers)
            asyncio.run(soak.run())
        finally:
            servers.end()
        logs = servers.logs
    clients, others = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    spent = [f"{(one.ru_utime + one.ru_stime) / (time.monotonic() - started):.0%}" for one in (clients, others)]
    soak.rows.append(("of a processor: clients, servers and Redis", ", ".join(spent), None))
    for what, figure, right in soak.rows:
        print(f"{'' if right is None else 'ok' if right else 'BROKEN':6} {what:48} {figure}")
    broken = [what for what, _, right in soak.rows if right is False]
    if broken:
        print("", *soak.world.trouble, "", "The servers' logs:", logs[-20_000:], sep="\n")
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())

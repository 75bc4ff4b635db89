"""Compare fws with the C limit and with its peers, in one run.

    python bench/run.py                                                 everything, about twelve minutes
    python bench/run.py --quick                                         the main figures, about a minute
    python bench/run.py --subjects echo,fanout --peers fws,c-limit --rounds 3

Each round takes the subjects in a new order and, within a subject, the servers in a new order, each in a new process.
See bench/README.md.
"""

from __future__ import annotations

import argparse
import random
import resource
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

import chart
import install
import machine
import report
import servers
import subjects
from measure import Measure, Sample, Subject
from process import Failed, Running
from result import QUIET, Result
from servers import Server

ROOT = Path(__file__).parent.parent
CHART = ROOT / "docs" / "performance.svg"
PAGE = ROOT / "docs" / "performance.md"
LAST = servers.BUILD / "last.json"
QUICK_PEERS = ("fws", "c-limit", "c-coalesce", "gevent-websocket", "picows", "socketify", "node-ws")
Item = TypeVar("Item")
# Open files that a process needs in addition to those of its clients.
SPARE_FILES = 200


def names(known: dict[str, object], kind: str) -> Callable[[str], list[str]]:
    """A parser for comma-separated names, whose error lists the unknown and the known ones."""

    def parse(text: str) -> list[str]:
        chosen = text.split(",")
        unknown = [name for name in chosen if name not in known]
        if unknown:
            raise argparse.ArgumentTypeError(f"unknown {kind} {', '.join(unknown)}; known: {', '.join(known)}")
        return chosen

    return parse


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Compare fws with the C limit and with its peers, in one run.")
    parser.add_argument("--quick", action="store_true", help="measure only the main figures, in two short rounds")
    parser.add_argument(
        "--subjects", type=names(dict(subjects.BY_NAME), "subject"), help="only these, by name, separated by commas"
    )
    parser.add_argument("--measures", type=names(dict(subjects.MEASURES), "measure"), help="only these, by name")
    parser.add_argument(
        "--peers", type=names(dict(servers.BY_NAME), "server"), help="only these servers (fws is one of them), by name"
    )
    parser.add_argument("--rounds", type=int, help="number of rounds: 3, or 2 with --quick")
    parser.add_argument("--seconds", type=float, help="duration of each measurement: 0.8, or 0.5 with --quick")
    parser.add_argument("--output", type=Path, help=f"file of the result; default {LAST.relative_to(ROOT)}")
    parser.add_argument("--publish", action="store_true", help="renew the project's result, its chart and its page")
    options = parser.parse_args(arguments)
    options.rounds = options.rounds or (2 if options.quick else 3)
    options.seconds = options.seconds or (0.5 if options.quick else 0.8)
    options.output = options.output or (report.LATEST if options.publish else LAST)
    return options


class Plan:
    """Which measures to take of which servers."""

    def __init__(self, options: argparse.Namespace, installed: list[Server]) -> None:
        self._options = options
        self._servers = installed
        self._files = resource.getrlimit(resource.RLIMIT_NOFILE)[1]

    def subjects(self) -> list[Subject]:
        chosen = self._options.subjects
        return [subject for subject in subjects.ALL if chosen is None or subject.name in chosen]

    def measures(self, subject: Subject, server: Server) -> list[Measure]:
        return [measure for measure in subject.measures if self._wanted(measure) and self._fits(measure, server)]

    def _wanted(self, measure: Measure) -> bool:
        options = self._options
        if options.measures is not None:
            return measure.name in options.measures
        # A subject that is named on the command line is measured completely.
        return measure.quick or not options.quick or options.subjects is not None

    def _fits(self, measure: Measure, server: Server) -> bool:
        asked = self._options.peers is not None or measure.who is None or server.name in measure.who
        return asked and measure.needs in server.offers and self.allowed(measure)

    def allowed(self, measure: Measure) -> bool:
        return measure.clients + SPARE_FILES <= self._files

    def one_round(self, number: int) -> Iterator[tuple[Subject, Server, list[Measure]]]:
        """Everything in one round, in a random order."""
        for subject in shuffled(self.subjects()):
            if number > subject.most_rounds:
                continue
            for server in shuffled(self._servers):
                measures = shuffled(self.measures(subject, server))
                if measures:
                    yield subject, server, measures


def shuffled(items: list[Item]) -> list[Item]:
    return random.sample(items, len(items))


def choose_servers(options: argparse.Namespace) -> list[Server]:
    wanted = options.peers or (QUICK_PEERS if options.quick else list(servers.BY_NAME))
    return [servers.BY_NAME[name] for name in wanted]


def take_all(plan: Plan, result: Result, rounds: int, seconds: float) -> None:
    """Take all measures. A failure is recorded, and the other measures continue."""
    for number in range(1, rounds + 1):
        for subject, server, measures in plan.one_round(number):
            try:
                with Running(server, subject.compressed, subject.tls) as running:
                    for measure in measures:
                        sample = measure.take(running, seconds)
                        result.add(measure.name, server.name, number, sample)
                        show(number, measure, server, sample)
            except Failed as failure:
                line = f"{subject.name}, {server.name}, round {number}: {failure}"
                result.failures.append(line)
                print(f"failed: {line}", file=sys.stderr)


def show(number: int, measure: Measure, server: Server, sample: Sample) -> None:
    """Print one line for a measurement that has just ended."""
    cpu = f"{sample.cpu_us:8.2f} µs" if sample.cpu_us is not None else ""
    noise = f"  other programs used {sample.other_cpu:.2f} processors" if sample.other_cpu > QUIET else ""
    faults = "".join(f"  {count} {kind}" for kind, count in sample.faults.items())
    print(
        f"{number}  {measure.name:18} {server.name:17} {report.number(sample.value):>9} {measure.unit:29}"
        f"{cpu:>12}{noise}{faults}",
        file=sys.stderr,
        flush=True,
    )


def end(*_: object) -> None:
    raise KeyboardInterrupt


def main() -> int:
    options = parse()
    signal.signal(signal.SIGTERM, end)
    install.build_tools()
    install.make_certificate()
    installed = install.install(choose_servers(options))
    plan = Plan(options, installed)
    for measure in subjects.MEASURES.values():
        if not plan.allowed(measure):
            print(f"left out: {measure.name} needs {measure.clients:,} open files (ulimit -n)", file=sys.stderr)
    result = Result(
        {
            "commit": machine.commit(),
            "date": machine.now(),
            "machine": machine.description(),
            "versions": machine.versions(installed),
            "rounds": options.rounds,
            "seconds": options.seconds,
        }
    )
    interrupted = False
    try:
        take_all(plan, result, options.rounds, options.seconds)
    except KeyboardInterrupt:
        interrupted = True
        print("interrupted: these are the results so far", file=sys.stderr)
    print(report.report(result), end="")
    if interrupted:
        return 130
    result.save(options.output)
    if options.publish:
        CHART.write_text(chart.chart(result))
        report.put(report.report(result), PAGE)
    return 0


if __name__ == "__main__":
    sys.exit(main())

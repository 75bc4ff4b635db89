"""A measure is one figure of a server: how it is taken and how it is shown. A subject is a group of measures."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from process import Failed, Running
from servers import CHANNEL, ECHO, LIMITS

# For measures that say little about the peers, or take long.
FWS_AND_LIMITS = ("fws", *LIMITS)
WARM = 0.3  # seconds of load before the measuring begins


@dataclass(frozen=True)
class Sample:
    """The result of one measurement of one server."""

    value: float
    cpu_us: float | None = None  # the server's processor time for one unit
    p50_us: float | None = None
    p99_us: float | None = None
    other_cpu: float = 0.0  # processors used by other programs in that time
    faults: dict[str, int] = field(default_factory=dict)  # what the load generator found wrong, by kind


@dataclass(frozen=True)
class Measure:
    """One figure: by default the rate that the load generator reports."""

    name: str
    title: str
    load: tuple[str, ...]
    path: str
    unit: str = "echoes/s"
    needs: str = ECHO
    who: tuple[str, ...] | None = None  # servers that take part by default; None: all that can
    quick: bool = False  # part of `make bench-quick`
    longer: float = 1.0  # factor for the duration
    clients: int = 0  # simultaneous connections, if the limit on open files may be too low for them
    above: str = ""  # the measure with which this one is compared
    more_is_better: bool = True

    def take(self, running: Running, seconds: float) -> Sample:
        """Measure once, for about `seconds`. Raises process.Failed."""
        return self.sample(running.load((*self.load, "--warm", str(WARM)), self.path, seconds * self.longer))

    def sample(self, found: dict[str, Any]) -> Sample:
        """A sample from the report of the load generator."""
        if not found["rate"]:
            raise Failed(f"{self.name}: nothing came back in {found.get('secs', 0):.1f} s")
        latency = found.get("last_us") or found.get("lat_us") or found["connect_us"]
        return Sample(
            value=found["rate"],
            cpu_us=found["server_cpu"] / found["rate"] * 1e6,
            p50_us=latency["p50"],
            p99_us=latency["p99"],
            other_cpu=found["other_cpu"],
            faults=faults(found),
        )


def faults(found: dict[str, Any]) -> dict[str, int]:
    kinds = ("lost", "dup", "out_of_order", "bad", "proto_errors", "conn_errors", "bad_upgrades", "overrun")
    return {kind: found[kind] for kind in kinds if found.get(kind)}


@dataclass(frozen=True)
class Latency(Measure):
    """At a fixed rate: µs from publishing to the last receiver, as the 99th percentile."""

    unit: str = "µs to the last receiver, p99"
    needs: str = CHANNEL
    more_is_better: bool = False

    def sample(self, found: dict[str, Any]) -> Sample:
        rate = super().sample(found)
        return Sample(rate.p99_us or 0.0, rate.cpu_us, rate.p50_us, rate.p99_us, rate.other_cpu, rate.faults)


@dataclass(frozen=True)
class Subject:
    """A group of measures that share a server process."""

    name: str
    about: str
    measures: tuple[Measure, ...]
    most_rounds: int = 1000  # for measures that hardly differ from round to round
    compressed: bool = False
    tls: bool = False

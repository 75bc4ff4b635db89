"""The table of `fws top`: the statistics of all workers put together, for a terminal and for scripts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from fws.base.histogram import percentile
from fws.base.units import format_duration

_OUTCOMES = ("drop", "error", "close", "refuse")


def merged(answers: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The statistics of several workers as one. Rates are per second, times in microseconds."""
    stages: dict[str, dict[str, Any]] = {}
    counters: dict[str, int] = {}
    seconds = max((float(answer["seconds"]) for answer in answers), default=1.0)
    for answer in answers:
        for name, number in answer["counters"].items():
            counters[name] = counters.get(name, 0) + number
        for stage in answer["stages"]:
            known = stages.setdefault(
                stage["id"],
                {name: stage[name] for name in ("path", "stage", "text", "place")}
                | dict.fromkeys(("count", *_OUTCOMES), 0),
            )
            for name in ("count", *_OUTCOMES):
                known[name] += stage[name]
            times = known.setdefault("times", {})
            for bucket, many in stage["times"].items():
                times[int(bucket)] = times.get(int(bucket), 0) + many
    rows = []
    for stage in stages.values():
        times = stage.pop("times")
        rates = {name: round(stage.pop(name) / seconds, 1) for name in ("count", *_OUTCOMES)}
        rows.append(
            {
                **stage,
                "rate": rates["count"],
                **{name: rates[name] for name in _OUTCOMES},
                "p50": round(percentile(times, 0.5), 1),
                "p99": round(percentile(times, 0.99), 1),
            }
        )
    return {
        "file": next((answer["file"] for answer in answers), ""),
        "generation": max((int(answer["generation"]) for answer in answers), default=0),
        "generation_age": max((float(answer["generation_age"]) for answer in answers), default=0.0),
        "refused": next((answer["refused"] for answer in answers if answer["refused"]), ""),
        "workers": len(answers),
        "clients": sum(int(answer["clients"]) for answer in answers),
        "in": round(sum(int(answer["in"]) for answer in answers) / seconds, 1),
        "out": round(sum(int(answer["out"]) for answer in answers) / seconds, 1),
        "lag": round(max((float(answer["lag"]) for answer in answers), default=0.0) * 1e3, 2),
        "counters": counters,
        "stages": rows,
    }


def text_of(statistics: Mapping[str, Any], version: str) -> str:
    """The table."""
    age = format_duration(float(round(statistics["generation_age"])))
    workers = f"   workers {statistics['workers']}" if statistics["workers"] > 1 else ""
    head = (
        f"fws {version}  {statistics['file']}  generation {statistics['generation']} ({age})   "
        f"clients {statistics['clients']:,}   in {_rate(statistics['in'])}   out {_rate(statistics['out'])}   "
        f"loop lag {statistics['lag']:g} ms{workers}"
    )
    ran = [(f"{stage['path']} {stage['stage']}", stage) for stage in statistics["stages"] if stage["rate"]]
    wide = max([44, *(len(name) for name, _ in ran)])
    lines = [head, f"{'STAGE':{wide}} {'/s':>9} {'drop':>7} {'error':>6} {'p50':>8} {'p99':>8}  FILE"]
    for name, stage in ran:
        ended = stage["drop"] + stage["close"] + stage["refuse"]
        lines.append(
            f"{name:{wide}} {stage['rate']:9,.1f} {ended:7,.1f} {stage['error']:6,.1f} "
            f"{_time(stage['p50']):>8} {_time(stage['p99']):>8}  {stage['place']}"
        )
    if not ran:
        lines.append("no event has reached a stage in this interval")
    counters = ", ".join(f"{name} {number}" for name, number in statistics["counters"].items())
    if counters:
        lines.append(f"counted: {counters}")
    if statistics["refused"]:
        lines.append(f"the last reload was refused: {statistics['refused']}")
    return "\n".join(lines)


def _rate(number: float) -> str:
    return f"{number / 1000:,.1f}k/s" if number >= 10_000 else f"{number:,.0f}/s"


def _time(microseconds: float) -> str:
    if microseconds >= 1000:
        return f"{microseconds / 1000:.1f} ms"
    return f"{microseconds:.0f} µs"

"""The samples of one run, stored in a file and summarised as figures: medians, ranges and ratios."""

from __future__ import annotations

import dataclasses
import json
import statistics
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from measure import Measure, Sample

# Other programs always use about this much of one processor. Above it, a sample counts as noisy.
QUIET = 0.15


@dataclasses.dataclass(frozen=True)
class Figure:
    """The median of several rounds and their range. It is noisy if most rounds were disturbed."""

    median: float
    low: float
    high: float
    noisy: bool = False


def figure(values: Iterable[float], noisy: bool = False) -> Figure:
    values = list(values)
    return Figure(statistics.median(values), min(values), max(values), noisy)


def choose(rounds: dict[int, float]) -> tuple[list[int], bool]:
    """The rounds that count, and whether they are noisy: the quiet ones or, if most were disturbed, all.

    Args:
        rounds: how many processors other programs used, by the number of the round.
    """
    quiet = [number for number, others in rounds.items() if others <= QUIET]
    if 2 * len(quiet) >= len(rounds):
        return quiet, False
    return list(rounds), True


class Result:
    """All samples of one run, by measure, server and round."""

    def __init__(self, about: dict[str, Any]) -> None:
        self.about = about  # commit, date, machine, versions, rounds, seconds
        self._samples: dict[tuple[str, str], dict[int, Sample]] = {}
        self.failures: list[str] = []

    def add(self, measure: str, server: str, number: int, sample: Sample) -> None:
        self._samples.setdefault((measure, server), {})[number] = sample

    def servers(self, measure: str) -> list[str]:
        """The servers that were measured, in no particular order."""
        return [server for name, server in self._samples if name == measure]

    def all_samples(self, measure: str, server: str) -> list[Sample]:
        return list(self._samples.get((measure, server), {}).values())

    def figure(
        self, measure: str, server: str, of: Callable[[Sample], float | None] = lambda sample: sample.value
    ) -> Figure | None:
        """A summary of one field of the samples, or None if no sample has it."""
        samples = {
            number: sample
            for number, sample in self._samples.get((measure, server), {}).items()
            if of(sample) is not None
        }
        if not samples:
            return None
        numbers, noisy = choose({number: sample.other_cpu for number, sample in samples.items()})
        return figure((of(samples[number]) or 0.0 for number in numbers), noisy)

    def compare(
        self,
        first: tuple[str, str],
        second: tuple[str, str],
        operation: Callable[[float, float], float],
        of: Callable[[Sample], float | None] = lambda sample: sample.value,
    ) -> Figure | None:
        """Compare two (measure, server) pairs round by round, because a disturbance affects both samples of a round."""
        pairs = {}
        for number, one in self._samples.get(first, {}).items():
            other = self._samples.get(second, {}).get(number)
            if other is None:
                continue
            left, right = of(one), of(other)
            if left is not None and right:
                pairs[number] = operation(left, right), max(one.other_cpu, other.other_cpu)
        if not pairs:
            return None
        numbers, noisy = choose({number: others for number, (_, others) in pairs.items()})
        return figure((pairs[number][0] for number in numbers), noisy)

    def ratio(self, measure: str, server: str, to: str) -> Figure | None:
        """The value of a server divided by the value of another."""
        return self.compare((measure, server), (measure, to), lambda left, right: left / right)

    def save(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        lines = [
            json.dumps({"measure": measure, "server": server, "round": number, **compact(sample)})
            for (measure, server), rounds in sorted(self._samples.items())
            for number, sample in sorted(rounds.items())
        ]
        # One sample per line, so that a diff shows what a new result changed.
        about = json.dumps({**self.about, "failures": self.failures}, indent=2, ensure_ascii=False)
        path.write_text(f'{{"about": {about},\n"samples": [\n' + ",\n".join(lines) + "\n]}\n")

    @classmethod
    def load(cls, path: Path) -> Result:
        text = json.loads(path.read_text())
        result = cls(text["about"])
        result.failures = result.about.pop("failures")
        for sample in text["samples"]:
            measure, server, number = (sample.pop(key) for key in ("measure", "server", "round"))
            result.add(measure, server, number, Sample(**sample))
        return result


def compact(sample: Sample) -> dict[str, Any]:
    """The fields that are not empty, rounded to four digits."""
    fields = dataclasses.asdict(sample)
    return {
        name: float(f"{value:.4g}") if isinstance(value, float) else value for name, value in fields.items() if value
    } | {"value": float(f"{sample.value:.6g}")}


def better(measure: Measure) -> Callable[[float], float]:
    """A sort key that puts the best value first."""
    return (lambda value: -value) if measure.more_is_better else (lambda value: value)

"""The samples of one run, as a file and as figures: medians, spreads, ratios."""

from __future__ import annotations

import dataclasses
import json
import statistics
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from measure import Measure, Sample

# Of what others use, this much (of one processor) is always there; above it a sample is noisy.
QUIET = 0.15


@dataclasses.dataclass(frozen=True)
class Figure:
    """The median of several rounds and their spread; noisy when most rounds were disturbed."""

    median: float
    low: float
    high: float
    noisy: bool = False


def figure(values: Iterable[float], noisy: bool = False) -> Figure:
    values = list(values)
    return Figure(statistics.median(values), min(values), max(values), noisy)


def choose(rounds: dict[int, float]) -> tuple[list[int], bool]:
    """The rounds that count, by what others used in each: the quiet ones, unless most were disturbed; then all."""
    quiet = [number for number, others in rounds.items() if others <= QUIET]
    if 2 * len(quiet) >= len(rounds):
        return quiet, False
    return list(rounds), True


class Result:
    """All samples of one run: by measure, server and round."""

    def __init__(self, about: dict[str, Any]) -> None:
        self.about = about  # commit, date, machine, versions, rounds, seconds
        self._samples: dict[tuple[str, str], dict[int, Sample]] = {}
        self.failures: list[str] = []

    def add(self, measure: str, server: str, number: int, sample: Sample) -> None:
        self._samples.setdefault((measure, server), {})[number] = sample

    def servers(self, measure: str) -> list[str]:
        """Who was measured, in no order."""
        return [server for name, server in self._samples if name == measure]

    def all_samples(self, measure: str, server: str) -> list[Sample]:
        return list(self._samples.get((measure, server), {}).values())

    def figure(
        self, measure: str, server: str, of: Callable[[Sample], float | None] = lambda sample: sample.value
    ) -> Figure | None:
        """A field of the samples; None where there is none."""
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
        """Two (measure, server) pairs round by round, as neighbours in time share what disturbs them."""
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
        """The value of a server in times of another's."""
        return self.compare((measure, server), (measure, to), lambda left, right: left / right)

    def save(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        lines = [
            json.dumps({"measure": measure, "server": server, "round": number, **compact(sample)})
            for (measure, server), rounds in sorted(self._samples.items())
            for number, sample in sorted(rounds.items())
        ]
        # A sample a line: a new result shows in a diff what it changed.
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
    """The fields that say something, to four digits."""
    fields = dataclasses.asdict(sample)
    return {
        name: float(f"{value:.4g}") if isinstance(value, float) else value for name, value in fields.items() if value
    } | {"value": float(f"{sample.value:.6g}")}


def better(measure: Measure) -> Callable[[float], float]:
    """A key that sorts the best first."""
    return (lambda value: -value) if measure.more_is_better else (lambda value: value)

"""What the stages of one process have done since its start, over all generations."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Mapping

from fws.compiler.generation import Generation, with_branches
from fws.pipeline.pipeline import Pipeline, Step, StepId
from fws.pipeline.tally import StageCounts, Tally


class Tallies:
    """The tallies of the pipelines in force, and what those of former generations have counted.

    A stage keeps its counts over reloads, as long as the file has a stage with its id.

    Args:
        clock: monotonic seconds.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        # The pipelines that are or were in force and still exist. A frame that runs a pipeline holds it.
        self._running: list[tuple[weakref.ref[Pipeline], Tally, tuple[StepId, ...]]] = []
        # The steps in force, in the order of the file.
        self._order: dict[StepId, Step] = {}
        # What pipelines have counted that are gone.
        self._kept: dict[StepId, StageCounts] = {}
        # For each endpoint, its messages: its pipeline may have no stages.
        self._messages: list[tuple[str, weakref.ref[Pipeline], Tally]] = []
        self._kept_messages: dict[str, int] = {}

    def renew(self, generation: Generation) -> None:
        """Another generation is in force: measure its pipelines from now on, and forget stages that are gone."""
        known = {id(tally) for _, tally, _ in self._running}
        self._order = {step.id: step for pipeline in generation.pipelines() for step in pipeline.walk()}
        for pipeline in with_branches(generation):
            steps = tuple(step.id for step in pipeline.steps)
            if id(pipeline.tally) not in known:
                known.add(id(pipeline.tally))  # two stages may share the branches of a table
                pipeline.tally.measure(self._clock)
                self._running.append((weakref.ref(pipeline), pipeline.tally, steps))
        known = {id(tally) for _, _, tally in self._messages}
        paths = set()
        for endpoint in generation.all_endpoints():
            paths.add(path := endpoint.path or "*")
            if id(endpoint.message.tally) not in known:
                self._messages.append((path, weakref.ref(endpoint.message), endpoint.message.tally))
        self._settle()
        self._kept = {id: counts for id, counts in self._kept.items() if id in self._order}
        self._kept_messages = {path: number for path, number in self._kept_messages.items() if path in paths}

    def all(self) -> dict[StepId, StageCounts]:
        """A copy of the counts of each stage: first those of the generation in force, in the order of the file."""
        self._settle()
        found = {id: StageCounts() for id in self._order}
        for _, tally, steps in self._running:
            _add(found, steps, tally)
        for id, counts in self._kept.items():
            found.setdefault(id, StageCounts()).add(counts)
        return found

    @property
    def steps(self) -> Mapping[StepId, Step]:
        """The steps of the generation in force."""
        return self._order

    def messages(self) -> dict[str, int]:
        """The messages that the `message` pipeline of each endpoint has begun to serve, by path; `*` for all others."""
        self._settle()
        found = dict(self._kept_messages)
        for path, _, tally in self._messages:
            found[path] = found.get(path, 0) + tally.begun
        return found

    def _settle(self) -> None:
        """Keep what pipelines have counted that are gone."""
        for entry in [entry for entry in self._running if entry[0]() is None]:
            self._running.remove(entry)
            _add(self._kept, entry[2], entry[1])
        for message in [message for message in self._messages if message[1]() is None]:
            self._messages.remove(message)
            self._kept_messages[message[0]] = self._kept_messages.get(message[0], 0) + message[2].begun


def _add(found: dict[StepId, StageCounts], steps: tuple[StepId, ...], tally: Tally) -> None:
    for id, counts in zip(steps, tally.counts(), strict=True):
        found.setdefault(id, StageCounts()).add(counts)

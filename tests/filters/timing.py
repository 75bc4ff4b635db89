"""Simulations for tests of filters that ask for the time."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from fws.config import load
from fws.pipeline.filter import Filter
from fws.pipeline.pipeline import Pipeline, Step
from fws.pipeline.services import Services
from fws.testing.loop import Clock, Loop
from fws.testing.simulation import Simulation, Speaker


def simulation(folder: Path, conf: str) -> Simulation:
    """A server with this configuration, and a clock that the test advances."""
    return Simulation(written(folder, conf), {})


def written(folder: Path, conf: str) -> Any:
    """The configuration, to begin with or for `Simulation.reload`."""
    file = folder / "app.toml"
    file.write_text(conf)
    return load(str(file))


def say(run: Simulation, speaker: Speaker, *messages: Any) -> None:
    """A client sends messages, JSON where they are not texts, and the server serves them."""
    for message in messages:
        speaker.peer.say(message if isinstance(message, str) else msgspec.json.encode(message).decode())
    run.settle()


def got(speaker: Speaker) -> list[Any]:
    """What a client has received so far."""
    return [one.message for one in speaker.received]


def taken(speaker: Speaker) -> list[Any]:
    """What a client has received since the last call."""
    messages = got(speaker)
    speaker.received.clear()
    return messages


class Ticks:
    """A pipeline of `tick` with one filter, and what has flowed through it."""

    def __init__(self, filter: Filter) -> None:
        self.flowed: list[Any] = []
        self._clock = Clock(1000.0)
        self._loop = Loop(self._clock)
        filter.services = Services(self._clock)
        filter.services.after = self._loop.after
        hook = filter.tick  # type: ignore[attr-defined]
        self._pipeline = Pipeline("tick", [Step(hook, "", ""), Step(self.flowed.append, "", "")])

    def take_part(self) -> None:
        pass

    def resume(self, rest: Pipeline) -> Callable[[Any], None]:
        return lambda message: rest.tick(self, message)

    def tick(self, message: Any) -> None:
        """The schedule is due."""
        self._pipeline.tick(self, message)

    def advance(self, seconds: float) -> None:
        """Let time pass."""
        end = self._clock.now + seconds
        while (due := self._loop.next_timer) is not None and due <= end:
            self._clock.now = due
            self._loop.turn()
        self._clock.now = end

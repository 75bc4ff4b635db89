"""The section `[schedules.NAME]`, and the times at which a schedule is due. They are pure: the time is passed."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from typing import Annotated, Literal, Protocol
from zoneinfo import ZoneInfo

import msgspec
from cronsim import CronSim, CronSimError
from msgspec import Meta

from fws.base.units import Duration
from fws.pipeline.options import Check, Help, Stages

# The least time between two ticks. A pipeline that runs more often is not a schedule but a loop.
LEAST = 0.1


def parse_cron(text: str) -> None:
    """Check a cron expression. Raises ValueError that says what is wrong."""
    if not text:
        return
    if len(text.split()) != 5:
        raise ValueError('a cron expression has five fields, such as "*/5 * * * *": minute hour day month weekday')
    try:
        CronSim(text, datetime(2026, 1, 1, tzinfo=UTC))
    except CronSimError as error:
        raise ValueError(f"{error} in the cron expression: minute hour day month weekday") from None


def parse_timezone(name: str) -> None:
    """Check the name of a time zone. Raises ValueError that says what is wrong."""
    try:
        ZoneInfo(name)
    except (ValueError, OSError, KeyError):
        raise ValueError(f'there is no time zone {name!r}: write one such as "Europe/Berlin", or "UTC"') from None


class Schedule(msgspec.Struct, frozen=True, kw_only=True):
    """A pipeline of the event `tick`, which runs at certain times without a client."""

    every: Annotated[
        Annotated[Duration, Meta(ge=LEAST)] | None,
        Help("Time between two ticks. All nodes count from the same moment, so `1h` is the full hour in UTC."),
    ] = None
    cron: Annotated[
        str,
        Help('Or the times as a cron expression, such as "*/5 * * * *": minute, hour, day, month, weekday.'),
        Check(parse_cron),
    ] = ""
    timezone: Annotated[
        str,
        Help(
            'Time zone of the cron expression, such as "Europe/Berlin". At a change of the clock, a time that is left '
            "out is due at its end, and one that comes twice is due once."
        ),
        Check(parse_timezone),
    ] = "UTC"
    run: Annotated[list[str], Help("The stages of the pipeline."), Stages()]
    on: Annotated[
        Literal["one", "each"],
        Help("Whether each tick runs on one of all nodes, which share Redis, or on each node."),
    ] = "one"
    overlap: Annotated[
        bool, Help("Whether a tick may run while an earlier one is still running. Otherwise it is missed.")
    ] = False

    def times(self) -> Times:
        """When it is due."""
        return Cron(self.cron, self.timezone) if self.cron else Every(self.every or LEAST)


class Times(Protocol):
    """The times at which something is due."""

    def after(self, wall: float) -> float:
        """The first time after a Unix time; infinite if there is none."""


class Every:
    """Multiples of some seconds, counted from 1970-01-01 00:00 UTC, so that all nodes agree."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds

    def after(self, wall: float) -> float:
        seconds = self._seconds
        number = math.floor(wall / seconds)
        # Floating-point numbers are not exact: the quotient or a product may be off by a little.
        return next(due for step in (number, number + 1, number + 2) if (due := round(step * seconds, 6)) > wall)


class Cron:
    """The times of a cron expression in a time zone."""

    def __init__(self, expression: str, timezone: str) -> None:
        self._expression = expression
        self._zone = ZoneInfo(timezone)

    def after(self, wall: float) -> float:
        # It gives up after 50 years.
        due = next(CronSim(self._expression, datetime.fromtimestamp(wall, self._zone)), None)
        return math.inf if due is None else due.timestamp()

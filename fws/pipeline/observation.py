"""Observation of pipelines: what enters and leaves each stage, for tests, `fws try`, `fws tap` and traces.

A pipeline that nobody observes has the plain methods of its filters. While somebody observes it, it has these functions
in their place. Observation therefore costs nothing when there is none: not even a flag is looked at.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, Protocol

from fws.base.errors import Close, Refusal


class Observer(Protocol):
    """Is told what happens at each stage of the pipelines that it observes. It must not block or raise."""

    def enter(self, step: Any, arguments: tuple[Any, ...]) -> Any:
        """The hook of a `Step` is about to be called. What is returned is given to `leave` or `fail`."""

    def leave(self, mark: Any, result: Any) -> None:
        """The hook has returned."""

    def fail(self, mark: Any, error: BaseException) -> None:
        """The hook has raised."""


def outcome_of(error: BaseException) -> str:
    """How an exception ends a run of a stage: `close`, `refuse` or `error`."""
    return "close" if isinstance(error, Close) else "refuse" if isinstance(error, Refusal) else "error"


def observed(step: Any, hook: Callable[..., Any], observer: Observer) -> Callable[..., Any]:
    """The hook of a step, which also tells an observer about each call."""

    @functools.wraps(hook)
    def call(*arguments: Any) -> Any:
        mark = observer.enter(step, arguments)
        try:
            result = hook(*arguments)
        except BaseException as error:
            observer.fail(mark, error)
            raise
        observer.leave(mark, result)
        return result

    return call

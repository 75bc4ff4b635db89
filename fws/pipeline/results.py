"""What a hook may return on each event. A value that can never be right is the fault of the filter that returned it.

    def connect(self, client):
        return client.identity is not None      # wrong: False would admit the client

A pipeline looks up a result's type in its event's `results`, which takes 30 ns and covers what filters return in
practice. It calls `check` for other types only.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from os.path import basename
from typing import Any

from fws.base.errors import FwsError
from fws.pipeline.events import BY_NAME
from fws.pipeline.filter import module_of
from fws.pipeline.outcomes import Ask, Later, Several
from fws.pipeline.publication import Publication


class HookResultError(FwsError):
    """A hook returned a value that its event does not take.

    Args:
        message: what was returned, and what to write instead.
        where: the hook and its place, as `module.Class.hook (file.py:3)`.
    """

    def __init__(self, message: str, where: str) -> None:
        super().__init__(message)
        self.where = where


def check(event: str, hook: Callable[..., Any], result: Any) -> None:
    """Look at a result that is neither None nor `DROP`, and whose type is not among the `results` of the event.

    Raises:
        HookResultError: the value can never be right on this event.
    """
    row = BY_NAME[event]
    if isinstance(result, tuple(row.results)) or (row.any_value and not _is_mistake(result)):
        return
    if inspect.iscoroutine(result):
        result.close()  # so that Python does not warn that it was never awaited
    raise HookResultError(_explain(event, result), place_of(hook))


def check_nothing(function: Callable[..., Any], result: Any) -> None:
    """For functions whose exceptions alone decide, such as the answer of an `Ask`.

    Raises:
        HookResultError: the function returned something: its author may believe that this refuses the client.
    """
    if result is not None:
        if inspect.iscoroutine(result):
            result.close()
        raise HookResultError(_explain("", result), place_of(function))


def _is_mistake(result: Any) -> bool:
    """Whether a value cannot be a message: only a mistake lets a hook return it."""
    if isinstance(result, BaseException | Ask | Publication):
        return True
    if isinstance(result, type):
        return True
    return (
        inspect.isawaitable(result)
        or inspect.isgenerator(result)
        or inspect.isasyncgen(result)
        or inspect.isroutine(result)
        or result is NotImplemented
        or result is Ellipsis
    )


def _explain(event: str, result: Any) -> str:
    """What was returned, and what would be right. The value itself is not shown: it may hold what a client sent."""
    kind = type(result).__name__
    if inspect.isawaitable(result) or inspect.isasyncgen(result):
        return f"it returned a {kind}: hooks are plain functions without async, and may block"
    if inspect.isgenerator(result):
        return "it returned a generator: hooks are plain functions without yield"
    if isinstance(result, BaseException) or (isinstance(result, type) and issubclass(result, BaseException)):
        name = result.__name__ if isinstance(result, type) else kind
        return f"it returned {name}: raise it instead, `raise {name}(…)`"
    if isinstance(result, Several | Later):
        return f"it returned {kind}, which is for message and tick only"
    row = BY_NAME[event] if event else None
    hint = ": to refuse a client write `raise Reject(403)`" if row is None or row.refuses else ""
    return f"it returned {_shown(result)}, not {row.allowed if row is not None else 'None'}{hint}"


def _shown(result: Any) -> str:
    return repr(result) if result is True or result is False else f"a {type(result).__name__}"


def place_of(hook: Callable[..., Any]) -> str:
    """A hook's class and name and where it is defined: `module.Class.hook (file.py:3)`."""
    function = inspect.unwrap(getattr(hook, "__func__", hook))
    code = getattr(function, "__code__", None)
    if code is None:
        return str(getattr(function, "__name__", type(hook).__name__))
    return f"{module_of(function)}.{function.__qualname__} ({basename(code.co_filename)}:{code.co_firstlineno})"

"""Walks over a value of TOML: tables (`dict`) and lists that hold other values."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from fws.base.problem import Path


def leaves(value: Any, path: Path = ()) -> Iterator[tuple[Path, Any]]:
    """Every value that is neither a table nor a list, in order, each with the path to it.

    Args:
        path: the path to `value` itself.
    """
    if isinstance(value, dict):
        for key, item in value.items():
            yield from leaves(item, (*path, key))
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from leaves(item, (*path, index))
    else:
        yield path, value


def map_leaves(value: Any, function: Callable[[Any, Path], Any], path: Path = ()) -> Any:
    """A copy of `value` in which `function(leaf, path)` replaces each leaf, in the order of `leaves`."""
    if isinstance(value, dict):
        return {key: map_leaves(item, function, (*path, key)) for key, item in value.items()}
    if isinstance(value, list):
        return [map_leaves(item, function, (*path, index)) for index, item in enumerate(value)]
    return function(value, path)

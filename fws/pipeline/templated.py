"""A filter whose stage has placeholders: one instance for each set of values that they take."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping
from typing import Any
from weakref import WeakValueDictionary

from fws.base.errors import FillError
from fws.pipeline.filter import Filter, Services, Setting
from fws.pipeline.options import Option
from fws.pipeline.pipeline import Hook
from fws.pipeline.stage import Template


class Filled:
    """A filter with placeholders: one instance for each set of values that they take, shared and kept while in use."""

    def __init__(
        self,
        cls: type[Filter],
        fixed: Mapping[str, Any],
        templates: Mapping[str, tuple[Option, Any]],
        services: Services,
        setting: Setting,
    ) -> None:
        self.cls = cls
        self._fixed = fixed
        self._templates = templates
        self._leaves = tuple(leaf for _, value in templates.values() for leaf in templates_in(value))
        self._services = services
        self._setting = setting
        self._instances: WeakValueDictionary[tuple[str, ...], Filter] = WeakValueDictionary()

    def hook(self, event: str) -> Hook:
        """The event's method of whichever instance the client's values ask for."""

        def filled(client: Any, *value: Any) -> Any:
            return getattr(self.instance(client), event)(client, *value)

        # What is blamed for a wrong result is the filter's method (`results.place_of`).
        functools.update_wrapper(filled, getattr(self.cls, event))
        return filled

    def instance(self, client: Any) -> Filter:
        """The instance for this client. It lives as long as a client holds it.

        Raises:
            FillError: a placeholder has no value, or one that its option cannot take.
        """
        values = tuple(template.fill(client) for template in self._leaves)
        held: tuple[tuple[str, ...], Filter] | None = client.filled.get(self)
        if held is not None and held[0] == values:
            return held[1]
        instance = self._instances.get(values)
        if instance is None:
            instance = self._make(iter(values))
            self._instances[values] = instance
        client.filled[self] = (values, instance)
        return instance

    def _make(self, values: Iterator[str]) -> Filter:
        options = dict(self._fixed)
        try:
            for option, value in self._templates.values():
                given = _substitute(value, values)
                options[option.field] = option.convert(given, lambda kind, value: kind.parse(value))
            instance = self.cls(**options)
            instance.services = self._services
            instance.prepare(self._setting)
        except (ValueError, TypeError) as error:
            raise FillError(f"{self.cls.__name__}: {error}") from None
        return instance


def templates_in(value: Any) -> Iterator[Template]:
    """The templates in a value, in order."""
    if isinstance(value, Template):
        yield value
    elif isinstance(value, list):
        for item in value:
            yield from templates_in(item)
    elif isinstance(value, dict):
        for item in value.values():
            yield from templates_in(item)


def _substitute(value: Any, values: Iterator[str]) -> Any:
    """`value` with its templates replaced, in the order in which `templates_in` finds them."""
    if isinstance(value, Template):
        return next(values)
    if isinstance(value, list):
        return [_substitute(item, values) for item in value]
    if isinstance(value, dict):
        return {key: _substitute(item, values) for key, item in value.items()}
    return value

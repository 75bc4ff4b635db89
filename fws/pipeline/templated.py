"""A filter whose stage has placeholders: one instance for each set of their values."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping
from typing import Any
from weakref import WeakValueDictionary

from fws.base.errors import FillError
from fws.base.tree import leaves, map_leaves
from fws.pipeline.filter import Filter, Setting
from fws.pipeline.options import Option
from fws.pipeline.pipeline import Hook
from fws.pipeline.placeholder import Template
from fws.pipeline.services import Services


class Templated:
    """A filter whose stage has placeholders. Clients with the same values share one instance."""

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
        """A hook that calls the method of the instance for the client's values."""

        def templated(client: Any, *value: Any) -> Any:
            return getattr(self.instance(client), event)(client, *value)

        # A wrong result is blamed on the filter's method (`results.place_of`).
        functools.update_wrapper(templated, getattr(self.cls, event))
        return templated

    def instance(self, client: Any) -> Filter:
        """The instance for this client. It lives as long as a client uses it.

        Raises:
            FillError: a placeholder has no value, or a value that its option does not accept.
        """
        values = tuple(template.fill(client) for template in self._leaves)
        held: tuple[tuple[str, ...], Filter] | None = client.templated.get(self)
        if held is not None and held[0] == values:
            return held[1]
        instance = self._instances.get(values)
        if instance is None:
            instance = self._make(iter(values))
            self._instances[values] = instance
        client.templated[self] = (values, instance)
        return instance

    def _make(self, values: Iterator[str]) -> Filter:
        options = dict(self._fixed)
        try:
            for option, value in self._templates.values():
                given = map_leaves(value, lambda leaf, _: next(values) if isinstance(leaf, Template) else leaf)
                options[option.field] = option.convert(given, lambda kind, value: kind.parse(value))
            instance = self.cls(**options)
            instance.services = self._services
            instance.prepare(self._setting)
        except (ValueError, TypeError) as error:
            raise FillError(f"{self.cls.__name__}: {error}") from None
        return instance


def templates_in(value: Any) -> Iterator[Template]:
    """The templates in a value, in order."""
    return (leaf for _, leaf in leaves(value) if isinstance(leaf, Template))

"""A filter whose stage has placeholders: one instance for each set of their values."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping
from typing import Any
from weakref import WeakValueDictionary

from fws.base.errors import FillError
from fws.base.tree import leaves, map_leaves
from fws.pipeline.component import Setting
from fws.pipeline.events import BY_NAME
from fws.pipeline.filter import Filter, module_of
from fws.pipeline.options import Option
from fws.pipeline.pipeline import Hook
from fws.pipeline.placeholder import Flow, Template
from fws.pipeline.services import Services

# Instances that are kept where the values differ from message to message.
KEPT = 256


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
        self._hooks: dict[str, Hook] = {}
        self._varies = self.sources != {"client"}
        # The one that was used last is at the end.
        self._kept: dict[tuple[str, ...], Filter] = {}
        self._instances: WeakValueDictionary[tuple[str, ...], Filter] = WeakValueDictionary()
        # The same stage in the generation before, whose instances are adopted.
        self._former: Templated | None = None

    def adopt(self, old: Templated) -> None:
        """Let each instance that is made from now on adopt the former one for the same values."""
        self._former, old._former = old, None

    @property
    def sources(self) -> set[str]:
        """What its placeholders are filled from: "client", "message", "call", "channel" and "time"."""
        return set().union(*(leaf.sources for leaf in self._leaves))

    def sources_of(self, option: str) -> set[str]:
        """The same of one option; empty for an option without placeholders."""
        _, value = self._templates.get(option, (None, None))
        return set().union(*(leaf.sources for leaf in templates_in(value)))

    def template_of(self, option: str) -> Template | None:
        """The value of an option that is one text with placeholders; None for any other."""
        _, value = self._templates.get(option, (None, None))
        return value if isinstance(value, Template) else None

    def hook(self, event: str) -> Hook:
        """A hook that calls the method of the instance for the values that placeholders have on this event.

        The same hook is returned for the same event, so that equal pipelines are found to be equal.
        """
        made = self._hooks.get(event)
        if made is None:
            made = self._hooks[event] = self._hook(event)
        return made

    def _hook(self, event: str) -> Hook:
        wall = self._services.wall

        def of_publication(publication: Any) -> Any:
            instance = self.instance(Flow(None, publication.message, publication.channel, wall))
            return getattr(instance, event)(publication)

        def of_delivery(client: Any, publication: Any) -> Any:
            instance = self.instance(Flow(client, publication.message, publication.channel))
            return getattr(instance, event)(client, publication)

        def of_client(client: Any, *value: Any) -> Any:
            return getattr(self.instance(Flow(client, *value)), event)(client, *value)

        def of_channel(client: Any, channel: str) -> Any:
            return getattr(self.instance(Flow(client, None, channel)), event)(client, channel)

        def of_tick(message: Any) -> Any:
            return getattr(self.instance(Flow(None, message, None, wall)), event)(message)

        others: dict[str, Hook] = {"publication": of_publication, "deliver": of_delivery, "tick": of_tick}
        templated = others.get(event, of_channel if BY_NAME[event].of_channel else of_client)
        # A wrong result is blamed on the filter's method (`results.place_of`).
        functools.update_wrapper(templated, getattr(self.cls, event))
        return templated

    def instance(self, flow: Flow) -> Filter:
        """The instance for the values that placeholders have now.

        Those of a client live as long as the client uses them. Where a message or a channel fills in, or there is no
        client, the last `KEPT` are kept.

        Raises:
            FillError: a placeholder has no value, or a value that its option does not accept.
        """
        values = tuple(template.fill(flow) for template in self._leaves)
        client = flow.client
        if client is None or self._varies:
            return self._recent(values)
        held: tuple[tuple[str, ...], Filter] | None = client.templated.get(self)
        if held is not None and held[0] == values:
            return held[1]
        instance = self._instances.get(values)
        if instance is None:
            instance = self._make(values)
            self._instances[values] = instance
        client.templated[self] = (values, instance)
        return instance

    def _recent(self, values: tuple[str, ...]) -> Filter:
        instance = self._kept.pop(values, None)
        if instance is None:
            instance = self._make(values)
            if len(self._kept) >= KEPT:
                del self._kept[next(iter(self._kept))]
        self._kept[values] = instance
        return instance

    def made(self, values: tuple[str, ...]) -> Filter | None:
        """The instance for these values, if there is one."""
        return self._kept.get(values) or self._instances.get(values)

    def _make(self, key: tuple[str, ...]) -> Filter:
        options, values = dict(self._fixed), iter(key)
        try:
            for option, value in self._templates.values():
                given = map_leaves(value, lambda leaf, _: next(values) if isinstance(leaf, Template) else leaf)
                options[option.field] = option.convert(given, lambda kind, value: kind.parse(value))
            instance = self.cls(**options)
            instance.services = self._services
            instance.prepare(self._setting)
            adopt(instance, self._former.made(key) if self._former is not None else None)
        except (ValueError, TypeError) as error:
            raise FillError(f"{self.cls.__name__}: {error}") from None
        return instance


def templates_in(value: Any) -> Iterator[Template]:
    """The templates in a value, in order."""
    return (leaf for _, leaf in leaves(value) if isinstance(leaf, Template))


def adopt(new: Filter, old: Filter | None) -> None:
    """Let a filter take over what the former filter of the same stage has kept, if its class wants that.

    Nothing happens unless both are of the same class, or of two versions of it.
    """
    take_over = getattr(new, "adopt", None)
    if old is not None and old is not new and take_over is not None:
        ours, theirs = type(new), type(old)
        if (module_of(ours), ours.__qualname__) == (module_of(theirs), theirs.__qualname__):
            take_over(old)

"""A generation: one compiled, immutable set of pipelines. A reload swaps generations."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import unquote

from fws.base.errors import Refusal
from fws.base.problem import Problem
from fws.compiler.build import Built
from fws.compiler.endpoint import Endpoint
from fws.compiler.registry import Registry
from fws.config import Config
from fws.pipeline.component import Component
from fws.pipeline.events import SERVER_EVENTS
from fws.pipeline.filter import Filter
from fws.pipeline.pipeline import Pipeline
from fws.pipeline.services import Services
from fws.pipeline.source import Source
from fws.pipeline.templated import Templated, adopt

# A path parameter names a room or a device; it goes into channel names.
MAX_PARAM = 200
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")


class Generation:
    """Everything that was compiled from one configuration. It never changes.

    It has one attribute for each event without a client, such as `generation.publication`: the pipeline, which is empty
    where no filter runs.

    Attributes:
        default: the endpoint of every path that no other endpoint claims, if there is one.
        warnings: set by the compiler before anything uses the generation.
        number: counts the generations of a process, from 1.
        registry: the filters of the project, as this generation has imported them.
        filters: all filters, each once.
        sources: what brings publications in from elsewhere.
        schedules: the pipelines of schedules, by name.
        built: what each stage and table became, by its place.
        streams: whether clients may come over plain HTTP.
    """

    __slots__ = (
        "_waits",
        "built",
        "config",
        "default",
        "endpoints",
        "filters",
        "number",
        "registry",
        "schedules",
        "services",
        "sources",
        "streams",
        "warnings",
        *SERVER_EVENTS,
    )

    publication: Pipeline

    def __init__(
        self,
        config: Config,
        services: Services,
        endpoints: Sequence[Endpoint],
        default: Endpoint | None,
        pipelines: Mapping[str, Pipeline],
        filters: Sequence[Filter],
        *,
        schedules: Mapping[str, Pipeline],
        sources: Sequence[Source],
        registry: Registry,
        built: Mapping[Any, Built | None],
    ) -> None:
        self.config = config
        self.registry = registry
        self.built = built
        self.number = 1
        self.services = services
        self.endpoints = tuple(sorted(endpoints, key=lambda endpoint: endpoint.pattern.order))
        self.default = default
        for event in SERVER_EVENTS:
            setattr(self, event, pipelines[event])
        self.filters = tuple(dict.fromkeys(filters))
        self.schedules = schedules
        self.sources = tuple(sources)
        self.warnings: tuple[Problem, ...] = ()
        self.streams = any(set(endpoint.settings.carriers) - {"websocket"} for endpoint in self.all_endpoints())
        self._waits = bool(self.publication) or any(endpoint.deliver for endpoint in self.all_endpoints())

    def all_endpoints(self) -> list[Endpoint]:
        """The endpoints, and last that of every other path if there is one."""
        return [*self.endpoints, *([self.default] if self.default is not None else [])]

    def pipelines(self) -> Iterator[Pipeline]:
        """The pipelines that have filters: those of the endpoints, then those without a client."""
        for endpoint in self.all_endpoints():
            yield from endpoint.pipelines()
        for event in SERVER_EVENTS:
            if pipeline := getattr(self, event):
                yield pipeline
        yield from self.schedules.values()

    def route(self, target: str) -> tuple[Endpoint, dict[str, str]] | None:
        """The endpoint of a request's raw path (without the query) and the path's parameters.

        Segments are split before they are decoded, so that `%2F` in a parameter is a character of it.

        Raises:
            Refusal: 404, a parameter has control characters or more than 200 bytes.
        """
        try:
            segments = [unquote(segment, errors="strict") for segment in target.split("/")]
        except UnicodeDecodeError:
            return None
        for endpoint in self.endpoints:
            params = endpoint.match(segments)
            if params is not None:
                for name, value in params.items():
                    if len(value.encode()) > MAX_PARAM:
                        raise Refusal(404, f"The part {name} of the path is longer than {MAX_PARAM} bytes.")
                    if _CONTROL.search(value):
                        raise Refusal(404, f"The part {name} of the path holds a control character.")
                return endpoint, params
        return None if self.default is None else (self.default, {})

    def is_endpoint(self, path: str) -> bool:
        """Whether a decoded path is for WebSockets only, so that plain HTTP gets 426 there.

        The endpoint of all other paths counts only if there is no folder of static files, which may have the path.
        """
        segments = path.split("/")
        if any(endpoint.match(segments) is not None for endpoint in self.endpoints):
            return True
        return self.default is not None and not self.config.server.static

    @property
    def waits(self) -> bool:
        """Whether filters run while a publication is delivered, so that the delivery may have to wait for them."""
        return self._waits

    @property
    def components(self) -> tuple[Component, ...]:
        """All filters and sources."""
        return (*self.filters, *self.sources)

    def start(self, without: Collection[Component] = ()) -> None:
        """Call `start` of each filter that defines it, for work in addition to its hooks, and of each source.

        Args:
            without: those that have been started already.
        """
        for instance in self._all_but(without):
            begin = getattr(instance, "start", None)
            if begin is not None:
                begin()

    def stop(self, without: Collection[Component] = ()) -> list[Exception]:
        """Call `stop` of each filter and source that defines it, also after one has failed. Returns what they raised.

        The server stops them at the same time instead (`fws.live.retirement.stop`), because each may take long.

        Args:
            without: those that are still in use.
        """
        failures: list[Exception] = []
        for instance in self._all_but(without):
            end = getattr(instance, "stop", None)
            if end is not None:
                try:
                    end()
                except Exception as error:  # not a time limit of the caller
                    failures.append(error)
        return failures

    def _all_but(self, without: Collection[Component]) -> list[Component]:
        known = set(map(id, without))
        return [instance for instance in self.components if id(instance) not in known]


def makers(generation: Generation) -> set[Templated]:
    """The stages with placeholders."""
    return {built.instance for built in generation.built.values() if built and isinstance(built.instance, Templated)}


def with_branches(generation: Generation) -> Iterator[Pipeline]:
    """All pipelines. Those of a filter's branches follow the pipeline around them."""
    for pipeline in generation.pipelines():
        yield pipeline
        for step in pipeline.walk():
            yield from (branch for _, branch in step.branches)


def inherit(new: Generation, old: Generation) -> None:
    """Let each filter of a new generation take over what the filter at its place has kept, if its class wants that.

    A filter that both generations share needs nothing. An `adopt` that fails is reported, and its filter starts afresh.
    """
    before = {step.id: step for pipeline in old.pipelines() for step in pipeline.walk()}
    done: set[int] = set()
    for step in (step for pipeline in new.pipelines() for step in pipeline.walk()):
        former = before.get(step.id)
        heir = step.instance if step.templated is None else step.templated
        if former is None or id(heir) in done:
            continue
        done.add(id(heir))
        try:
            if isinstance(step.templated, Templated) and isinstance(former.templated, Templated):
                if step.templated is not former.templated:
                    step.templated.adopt(former.templated)
            elif step.instance is not None:
                adopt(step.instance, former.instance)
        except Exception as error:  # a user's filter may raise anything
            new.services.report("adopt", error, "")

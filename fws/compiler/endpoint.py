"""An endpoint: a URL path with pipelines and settings of its own."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from fws.auth.login import Login
from fws.config import Bounds, Settings
from fws.config.paths import parse_path
from fws.pipeline.events import CLIENT_EVENTS
from fws.pipeline.pipeline import Pipeline
from fws.wire.handshake import Origins


class Endpoint:
    """A URL path with pipelines and settings of its own. Immutable once built.

    It has one attribute for each event of a client, such as `endpoint.message`: the pipeline, which is empty where no
    filter runs.

    Args:
        path: as written, `/chat/{room}`; None for the endpoint of every path that no other endpoint claims.
        pipelines: by event.
    """

    __slots__ = ("bounds", "origins", "path", "pattern", "settings", *CLIENT_EVENTS)

    connect: Pipeline
    data: Pipeline
    subscribe: Pipeline
    message: Pipeline
    deliver: Pipeline
    unsubscribe: Pipeline
    disconnect: Pipeline

    def __init__(
        self, path: str | None, settings: Settings, bounds: Bounds, origins: Origins, pipelines: Mapping[str, Pipeline]
    ) -> None:
        self.path = path
        self.settings = settings
        self.bounds = bounds
        self.origins = origins
        self.pattern, _ = parse_path(path or "/")
        for event in CLIENT_EVENTS:
            setattr(self, event, pipelines[event])

    @property
    def waits(self) -> bool:
        """Whether serving a client may block, which needs a greenlet."""
        pipelines = (self.data, self.message, self.deliver, self.subscribe, self.unsubscribe)
        return any(pipeline.waits for pipeline in pipelines)

    def pipelines(self) -> Iterator[Pipeline]:
        """The pipelines that have filters, in the order of a client's life."""
        for event in CLIENT_EVENTS:
            if pipeline := getattr(self, event):
                yield pipeline

    def same_as(self, other: Endpoint) -> bool:
        """Whether another endpoint does the same with the same filter instances."""
        return (self.settings, self.bounds, self.origins) == (other.settings, other.bounds, other.origins) and all(
            getattr(self, event) == getattr(other, event) for event in CLIENT_EVENTS
        )

    def login(self) -> Login | None:
        """The filter that asks clients for their tokens; None if there is none."""
        return next((step.instance for step in self.connect.walk() if isinstance(step.instance, Login)), None)

    def match(self, segments: Sequence[str]) -> dict[str, str] | None:
        """The path's parameters if the decoded segments of a request's path are this endpoint's, else None."""
        return self.pattern.match(segments)

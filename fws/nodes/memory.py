"""The only node: a single process without Redis."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping
from typing import Any

from fws.base.metrics import Metrics
from fws.nodes.answers import served
from fws.nodes.base import PATIENCE, Answer
from fws.nodes.messages import LARGEST, packed
from fws.runtime.scheduler import Scheduler


class MemoryNodes:
    """There are no other nodes."""

    def __init__(self, scheduler: Scheduler, metrics: Metrics) -> None:
        self.id = ""
        self.largest = LARGEST
        self._scheduler = scheduler
        self._metrics = metrics

    def start(self, answer: Answer) -> None:
        self.id = secrets.token_urlsafe(12)
        self._answer = answer

    def ask(self, request: Mapping[str, Any], *, timeout: float = PATIENCE) -> list[Any]:
        packed(request, self.largest)
        found = self._answer(request)
        return [] if found is None else [found]

    def tell(self, node: str, request: Mapping[str, Any], done: Callable[[bool], None]) -> None:
        packed(request, self.largest)
        if node == self.id:
            self._scheduler.spawn(served, self._answer, request, node, self._metrics)
        done(node == self.id)

    def health(self) -> str | None:
        return None

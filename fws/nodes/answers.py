"""Who serves which request: the one place in which the requests of nodes are dispatched."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from fws.base.metrics import Metrics
from fws.nodes.base import Answer

logger = logging.getLogger("fws.nodes")


class Answers:
    """Serves requests by their kind, which is their field `do`. This is what `Nodes.start` is given."""

    def __init__(self) -> None:
        self._answers: dict[str, Answer] = {}

    def add(self, kind: str, answer: Answer) -> None:
        """Serve the requests of a kind. Each kind is served by one function."""
        assert kind not in self._answers, f"{kind} is served already"
        self._answers[kind] = answer

    def __call__(self, request: Mapping[str, Any]) -> Any:
        """Serve one request. A kind that this version of fws does not know has no answer."""
        answer = self._answers.get(str(request.get("do")))
        return None if answer is None else answer(request)


def served(answer: Answer, request: Mapping[str, Any], node: str, metrics: Metrics) -> Any:
    """The answer to a request that nobody here waits for. What goes wrong is logged, and is no answer."""
    try:
        return answer(request)
    except Exception as error:  # it may close clients and run filters
        metrics.count("node_faults")
        logger.error(
            "a request of node %s failed here: %s: %s", node, type(error).__name__, error, extra={"error": error}
        )
        return None

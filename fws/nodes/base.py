"""The interface of nodes: how a node asks all nodes something, and tells one node something.

All back ends pass the tests in `tests/nodes/contract.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol

# Serves a request on a node. It returns the answer, a value that JSON can represent, or None for none. It may block.
Answer = Callable[[Mapping[str, Any]], Any]

# Seconds that a node has to answer, and to say that it has received what it was told.
PATIENCE = 3.0


class Nodes(Protocol):
    """All nodes, as one of them sees them.

    A request reaches each node at most once. Nodes that are not connected to Redis at that moment do not get it.

    Attributes:
        id: this node's id, which is random; empty before `start`.
        largest: the most bytes of a request, and of an answer, as JSON.
    """

    id: str
    largest: int

    def start(self, answer: Answer) -> None:
        """Begin. Nothing else may be called before.

        Args:
            answer: serves the requests that reach this node, each in a greenlet of its own, in the order of arrival.
        """

    def ask(self, request: Mapping[str, Any], *, timeout: float = PATIENCE) -> list[Any]:
        """Ask all nodes, this one included. Blocks until all have answered, or for about `timeout` seconds.

        Returns:
            The answers, this node's first. A node that has died or hangs has none, and neither has one whose answer is
            None. While Redis is away, no other node is asked; `health` tells this.

        Raises:
            ValueError: the request is too large, or JSON cannot represent it.
        """

    def tell(self, node: str, request: Mapping[str, Any], done: Callable[[bool], None]) -> None:
        """Send a request to one node, which serves it. Never blocks. The order of the calls is kept.

        Args:
            node: the id of a node.
            done: called with True if the node has received the request, and with False if there is no such node, if
                Redis is away, or if the node does not say so within 3 seconds.

        Raises:
            ValueError: the request is too large, or JSON cannot represent it.
        """

    def health(self) -> str | None:
        """None if other nodes can be reached, else the reason why not."""

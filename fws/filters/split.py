"""`split`: make several messages of a list."""

from __future__ import annotations

from typing import Annotated, Any

from fws import Client, Filter, Help
from fws.filters._refusal import Refusing, refuse
from fws.pipeline.outcomes import MAX_PARTS, Several


class Split(Filter):
    """Make several messages of a list. Each item runs through the rest of the pipeline by itself, in order.

    On `message` and `tick`. The list is the message, or a field of the message, whose other fields are then discarded.
    If an item is dropped, the others are not. An error or a close ends the rest of the list. A message that is not a
    list, or does not have the field, flows on unchanged.

    Depending on `on_excess`, a list that is too long is dropped, or dropped and answered with `{"error": "…"}`, or it
    closes the connection with 1009. If lists in lists result in more than 1,000 messages, the connection is closed with
    1009. In a protocol with calls, a call fails instead of being dropped. A `rate_limit` after this filter counts
    items, and one before it counts lists.

    Example:
        message = ["json", "split", "rate_limit 20/s", "broadcast"]
    """

    waits = False

    field: Annotated[str, Help("Field with the list; without it, the message is the list.")] = ""
    max_items: Annotated[int, Help("The most items of a list.")] = 100
    on_excess: Annotated[Refusing, Help("How to treat a list that is too long.")] = "drop"

    def __post_init__(self) -> None:
        if not 1 <= self.max_items <= MAX_PARTS:
            raise ValueError(f"max_items: 1 to {MAX_PARTS}")

    def message(self, client: Client, message: Any) -> Any:
        return self._split(client, message)

    def tick(self, message: Any) -> Any:
        return self._split(None, message)

    def _split(self, client: Client | None, message: Any) -> Any:
        items = message
        if self.field:
            items = message.get(self.field) if isinstance(message, dict) else None
        if not isinstance(items, list):
            return None
        if len(items) > self.max_items:
            self.services.metrics.count("lists_over_size")
            return refuse(client, self.on_excess, 413, f"a list has at most {self.max_items} items")
        return Several(items)

"""`split`: several messages of one."""

from __future__ import annotations

from typing import Annotated, Any

from fws import Client, Filter, Help
from fws.base.close_codes import TOO_BIG
from fws.filters._refusal import Refusing, refuse
from fws.pipeline.outcomes import MAX_PARTS, Several


class Split(Filter):
    """Make several messages of a list: each item runs through the rest of the pipeline by itself, in order.

    On `message`. The list is the message, or stands in a field of it, whose other fields are left behind. An item
    that is dropped is dropped alone; a fault or a close ends what is left of the list. What is no list, or has no
    such field, flows on as it is. A list that is too long is dropped, or dropped and answered with
    `{"error": "…"}`, or closes the connection with 1009, as `on_excess` says. Whose lists in lists become more than
    1,000 messages is closed with 1009. A `rate_limit` behind this filter counts items, one before it counts lists.

    Example:
        message = ["json", "split", "rate_limit 20/s", "broadcast"]
    """

    waits = False

    field: Annotated[str, Help("Field that holds the list; without one the message is the list.")] = ""
    max_items: Annotated[int, Help("Longest list that is split.")] = 100
    on_excess: Annotated[Refusing, Help("What becomes of a list that is too long.")] = "drop"

    def __post_init__(self) -> None:
        if not 1 <= self.max_items <= MAX_PARTS:
            raise ValueError(f"max_items: 1 to {MAX_PARTS}")

    def message(self, client: Client, message: Any) -> Any:
        items = message
        if self.field:
            items = message.get(self.field) if isinstance(message, dict) else None
        if not isinstance(items, list):
            return None
        if len(items) > self.max_items:
            self.services.metrics.count("lists_over_size")
            return refuse(client, self.on_excess, TOO_BIG, f"a list has at most {self.max_items} items")
        return Several(items)

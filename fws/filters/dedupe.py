"""`dedupe`: drop messages that were seen before."""

from __future__ import annotations

from hashlib import sha256
from typing import Annotated, Any

from fws import DROP, Client, Filter, Help
from fws.filters._stored import Lasting, text_of

# A longer id is replaced by its hash.
LONGEST = 100


class Dedupe(Filter):
    """Drop a message whose id was seen before, within a time and on any node.

    On `message`. If several messages have the same id, one of them flows on, even if they arrive at the same time on
    two nodes. The id is a field of the message, a text or a number. A message without it flows on. The id counts as
    seen even if a later filter drops the message.

    A message is dropped if `key` and the id together are longer than 512 bytes. Ids of more than 100 bytes count as 64,
    because a hash replaces them. If the storage cannot be reached, the message is dropped and counted.

    Example:
        message = ["json", "dedupe id within=10min", "broadcast"]
    """

    field: Annotated[str, Help("Message field with the id.")] = "id"
    within: Annotated[Lasting, Help("Time for which an id is remembered.")] = 300.0
    key: Annotated[str, Help("Goes before the ids in the storage. Use different keys for ids of different kinds.")] = (
        "seen"
    )

    def message(self, client: Client, message: Any) -> Any:
        found = message.get(self.field) if isinstance(message, dict) else None
        if not isinstance(found, str | int | float):
            return None
        name = text_of(found)
        data = name.encode("utf-8", "replace")
        if len(data) > LONGEST:
            name = sha256(data).hexdigest()
        try:
            new = self.storage.compare_and_set(f"{self.key}:{name}", None, "1", self.within)
        except ValueError:
            return DROP
        return None if new else DROP

"""`dedupe`: a message that was seen before goes no further."""

from __future__ import annotations

from hashlib import sha256
from typing import Annotated, Any

from fws import DROP, Client, Filter, Help
from fws.filters._stored import Lasting, text_of

# An id of more bytes than this is stood for by its hash.
LONGEST = 100


class Dedupe(Filter):
    """Drop a message whose id was seen within a time, on any node.

    On `message`: of several with the same id, also at the same instant on two nodes, one flows on. The id is a field of
    the message, a text or a number; a message without it flows on. It counts as seen from here on, whatever the filters
    behind this one make of the message.

    A message is dropped when its id and `key` are too long for a key of the storage (512 bytes; ids over 100 bytes are
    stood for by a hash of 64), such as a placeholder may make them. When the storage cannot be asked the message is
    dropped and counted.

    Example:
        message = ["json", "dedupe id within=10min", "broadcast"]
    """

    field: Annotated[str, Help("Message field that holds the id.")] = "id"
    within: Annotated[Lasting, Help("How long an id is remembered.")] = 300.0
    key: Annotated[str, Help("What stands before the ids in the storage; apart where ids mean different things.")] = (
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

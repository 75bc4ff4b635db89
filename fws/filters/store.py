"""`store`: what flows, or a field of it, into the storage."""

from __future__ import annotations

from typing import Annotated, Any

from fws import DROP, Client, Filter, Help
from fws.filters._stored import Lasting, named, text_of


class Store(Filter):
    """Put a value into a set or a map of the storage, where other nodes and applications find it.

    On `message`. The value is the message's field `value`, or the whole message. With `field` it is set in the map
    `key`, under what the message's field of that name says; without, it is added to the set `key`. Text is stored as it
    is, anything else as JSON. The message flows on; one that lacks what is asked for is dropped, and so is one whose
    value or key is longer than a storage takes (1 MiB, 512 bytes).

    When the storage cannot be asked the message is dropped and counted.

    Example:
        message = ["json", "store scores field=player value=points expire=1d", "broadcast"]
    """

    key: Annotated[str, Help("Key of the set or the map.")]
    field: Annotated[str, Help("Message field that names the map's field; without it the value goes into a set.")] = ""
    value: Annotated[str, Help("Message field that is stored; without it the whole message.")] = ""
    expire: Annotated[Lasting | None, Help("Time after which all of the key is forgotten, from the last change.")] = (
        None
    )

    def message(self, client: Client, message: Any) -> Any:
        value = named(message, self.value)
        field = named(message, self.field) if self.field else ""
        if value is None or field is None:
            return DROP
        try:
            if self.field:
                self.storage.set_field(self.key, text_of(field), text_of(value), self.expire)
            else:
                self.storage.add(self.key, text_of(value), expire=self.expire)
        except ValueError:
            return DROP
        return None

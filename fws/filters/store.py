"""`store`: put the message or one of its fields into the storage."""

from __future__ import annotations

from typing import Annotated, Any

from fws import DROP, Client, Filter, Help
from fws.filters._stored import Lasting, named, text_of


class Store(Filter):
    """Put a value into a set or a map in the storage, where other nodes and applications find it.

    On `message` and `tick`. The value is the message's field that `value` names, or the whole message. With `field`, it
    is stored in the map `key`, and the message's field of that name says under which field of the map. Without `field`,
    it is added to the set `key`. Text is stored as it is, and anything else as JSON. The message flows on. It is
    dropped if it lacks one of these fields, or if the value is larger than 1 MiB or the key longer than 512 bytes.

    If the storage cannot be reached, the message is dropped and counted.

    Example:
        message = ["json", "store scores field=player value=points expire=1d", "broadcast"]
    """

    key: Annotated[str, Help("Key of the set or map.")]
    field: Annotated[
        str, Help("Message field that names the field of the map; without it, the value is added to a set.")
    ] = ""
    value: Annotated[str, Help("Message field to store; the default is the whole message.")] = ""
    expire: Annotated[Lasting | None, Help("Time from the last change until the whole key expires.")] = None

    def message(self, client: Client, message: Any) -> Any:
        return self.tick(message)

    def tick(self, message: Any) -> Any:
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

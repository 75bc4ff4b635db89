"""`load`: a stored value into the message."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal

import msgspec

from fws import DROP, Filter, Help
from fws.filters._stored import named, text_of

if TYPE_CHECKING:
    from fws.client import Client


class Load(Filter):
    """Put what the storage holds into a field of the message.

    On `message`. With `field` it is that field of the map `key` which the message's field names; else what `of` says:
    a plain value or a counter, all of a map as an object, a set as a sorted list, or how many members the set has.
    What is not there is null. A message that is no object is dropped: `json` stands before this one.

    When the storage cannot be asked the message is dropped and counted.

    Example:
        message = ["json", "load scores into=best field=player", "echo"]
    """

    key: Annotated[str, Help("Key in the storage.")]
    into: Annotated[str, Help("Message field that gets the value.")]
    field: Annotated[str, Help("Message field that names the map's field.")] = ""
    of: Annotated[Literal["value", "map", "set", "size"], Help("What is at the key, without `field`.")] = "value"
    read: Annotated[Literal["text", "json"], Help("How a value is read: as it is, or as JSON where it is JSON.")] = (
        "text"
    )

    def message(self, client: Client, message: Any) -> Any:
        if not isinstance(message, dict):
            return DROP
        try:
            return {**message, self.into: self._stored(message)}
        except ValueError:
            return DROP

    def _stored(self, message: dict[str, Any]) -> Any:
        storage = self.storage
        if self.field:
            name = named(message, self.field)
            return None if name is None else self._read(storage.get_field(self.key, text_of(name)))
        match self.of:
            case "map":
                return {field: self._read(value) for field, value in storage.fields(self.key).items()}
            case "set":
                return [self._read(member) for member in sorted(storage.members(self.key))]
            case "size":
                return storage.size(self.key)
        return self._read(storage.get(self.key))

    def _read(self, value: str | None) -> Any:
        if value is None or self.read == "text":
            return value
        try:
            return msgspec.json.decode(value)
        except (ValueError, RecursionError):
            return value

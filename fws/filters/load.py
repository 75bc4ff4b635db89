"""`load`: put a stored value into the message."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fws import DROP, Client, Filter, Help, StorageError
from fws.base.decoding import MAX_CONTAINERS, brackets, decode
from fws.filters._stored import named, text_of


class Load(Filter):
    """Put a value from the storage into a field of the message.

    On `message` and `tick`. With `field`, the message's field of that name says which field of the map `key` to read.
    Otherwise `of` says what is at `key`: a plain value or a counter, a whole map (as an object), a set (as a sorted
    list), or the number of members of a set. A missing value is null. A message that is not an object is dropped, so
    put `json` before this filter.

    With read=json, a value that is not JSON, or is nested more than 100 deep, stays text. If it has more than 20,000
    lists and objects (brackets in texts count), or the storage cannot be reached, the message is dropped and counted.

    Example:
        message = ["json", "load scores into=best field=player", "echo"]
    """

    key: Annotated[str, Help("Key in the storage.")]
    into: Annotated[str, Help("Message field for the value.")]
    field: Annotated[str, Help("Message field that names the field of the map.")] = ""
    of: Annotated[Literal["value", "map", "set", "size"], Help("What to read at the key, without `field`.")] = "value"
    read: Annotated[Literal["text", "json"], Help("How to read a value: as text, or as JSON if it is JSON.")] = "text"

    def message(self, client: Client, message: Any) -> Any:
        return self.tick(message)

    def tick(self, message: Any) -> Any:
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
            return None if name is None else self._read(storage.get_field(self.key, text_of(name)))[0]
        match self.of:
            case "map":
                fields = storage.fields(self.key)
                return dict(zip(fields, self._read(*fields.values()), strict=True))
            case "set":
                return self._read(*sorted(storage.members(self.key)))
            case "size":
                return storage.size(self.key)
        return self._read(storage.get(self.key))[0]

    def _read(self, *values: str | None) -> list[Any]:
        if self.read == "text":
            return list(values)
        if sum(brackets(value) for value in values if value is not None) > MAX_CONTAINERS:
            raise StorageError(f"{self.key!r} has more than {MAX_CONTAINERS} lists and objects")
        return [None if value is None else _decoded(value) for value in values]


def _decoded(value: str) -> Any:
    try:
        return decode(value)
    except ValueError:
        return value

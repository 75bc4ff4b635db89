"""`load`: a stored value into the message."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fws import DROP, Client, Filter, Help, StorageError
from fws.filters._decoding import MAX_CONTAINERS, brackets, decode
from fws.filters._stored import named, text_of


class Load(Filter):
    """Put what the storage holds into a field of the message.

    On `message`. With `field` it is that field of the map `key` which the message's field names; else what `of` says:
    a plain value or a counter, all of a map as an object, a set as a sorted list, or how many members the set has.
    What is not there is null. A message that is no object is dropped: `json` stands before this one.

    With read=json a value that is no JSON, or is nested more than 100 deep, stays text. When the storage cannot be
    asked, or what is to be read as JSON holds more than 20,000 lists and objects (brackets in texts count), the message
    is dropped and counted.

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

"""`set`: set fields of a JSON object."""

from __future__ import annotations

from typing import Annotated, Any

from fws import DROP, Help, Takes
from fws.filters._change import Change


class Set(Change):
    """Set fields of a JSON object, and replace what the sender may have written there.

    On `message`, `publication`, `deliver` and `tick`. A message that is not an object is dropped, because the following
    filters rely on the fields. Put `json` before this filter. Values are JSON if they can be read as JSON (n=5,
    ok=true, five='"5"'), and otherwise text. The value of a placeholder, and a string in [filters.NAME], is always
    text. On `publication` and `tick`, placeholders about a client are not available.

    Example:
        message = ["json", "set from={client.id} room=lobby at={time}", "broadcast"]
    """

    fields: Annotated[dict[str, Any], Help("Fields to set, as name=value."), Takes("named")]

    def change(self, value: Any) -> Any:
        return {**value, **self.fields} if isinstance(value, dict) else DROP

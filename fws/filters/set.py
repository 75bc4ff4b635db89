"""`set`: fields put into a JSON object."""

from __future__ import annotations

from typing import Annotated, Any

from fws import DROP, Help, Takes
from fws.filters._change import Change


class Set(Change):
    """Put fields into a JSON object, in place of what the sender may have put there.

    On `message`, `publication` and `deliver`. What is no object is dropped, as without the fields it would not be
    what the filters behind this one count on: `json` stands before it. Values are JSON where they can be read as JSON
    (n=5, ok=true, five='"5"') and text where not; what a placeholder fills in, and a string in [filters.NAME], is
    always text. On `publication` there is no client to fill a placeholder from.

    Example:
        message = ["json", "set from={client.id} room=lobby at={time}", "broadcast"]
    """

    fields: Annotated[dict[str, Any], Help("Fields to set, as name=value."), Takes("named")]

    def change(self, value: Any) -> Any:
        return {**value, **self.fields} if isinstance(value, dict) else DROP

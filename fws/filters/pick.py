"""`pick`: keep some fields of a JSON object."""

from __future__ import annotations

from typing import Annotated, Any

from fws import DROP, Help
from fws.filters._change import Change


class Pick(Change):
    """Keep only the named fields of a JSON object.

    On `message`, `publication`, `deliver` and `tick`. Missing fields are not added. A message that is not an object is
    dropped, because it might contain anything. Put `json` before this filter.

    Example:
        message = ["json", "pick type text", "broadcast"]
    """

    fields: Annotated[list[str], Help("Fields to keep.")]

    def change(self, value: Any) -> Any:
        return {name: value[name] for name in self.fields if name in value} if isinstance(value, dict) else DROP

"""`pick`: some fields of a JSON object."""

from __future__ import annotations

from typing import Annotated, Any

from fws import DROP, Help
from fws.filters._change import Change


class Pick(Change):
    """Keep only the named fields of a JSON object.

    On `message`, `publication` and `deliver`. Fields that are not there stay away; what is no object is dropped, as
    it might hold anything: `json` stands before it.

    Example:
        message = ["json", "pick type text", "broadcast"]
    """

    fields: Annotated[list[str], Help("Fields to keep.")]

    def change(self, value: Any) -> Any:
        return {name: value[name] for name in self.fields if name in value} if isinstance(value, dict) else DROP

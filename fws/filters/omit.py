"""`omit`: a JSON object without some fields."""

from __future__ import annotations

from typing import Annotated, Any

from fws import DROP, Help
from fws.filters._change import Change


class Omit(Change):
    """Take the named fields out of a JSON object.

    On `message`, `publication` and `deliver`. What is no object is dropped, as it might hold the fields in a form
    that this filter does not see: `json` stands before it.

    Example:
        message = ["json", "broadcast"]
        deliver = ["omit address"]
    """

    fields: Annotated[list[str], Help("Fields to take out.")]

    def change(self, value: Any) -> Any:
        if not isinstance(value, dict):
            return DROP
        return {name: item for name, item in value.items() if name not in self.fields}

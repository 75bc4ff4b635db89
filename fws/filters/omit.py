"""`omit`: remove fields from a JSON object."""

from __future__ import annotations

from typing import Annotated, Any

from fws import DROP, Help
from fws.filters._change import Change


class Omit(Change):
    """Remove the named fields from a JSON object.

    On `message`, `publication`, `deliver` and `tick`. A message that is not an object is dropped, because it might
    contain the fields in another form. Put `json` before this filter.

    Example:
        message = ["json", "broadcast"]
        deliver = ["omit address"]
    """

    fields: Annotated[list[str], Help("Fields to take out.")]

    def change(self, value: Any) -> Any:
        if not isinstance(value, dict):
            return DROP
        return {name: item for name, item in value.items() if name not in self.fields}

"""`text`: value to text."""

from __future__ import annotations

from typing import Any

from fws import DROP
from fws.filters._change import Change
from fws.wire.encoding import json_bytes


class Text(Change):
    """Convert the message to text: bytes as UTF-8, and any other value as JSON.

    On `message`, `publication`, `deliver` and `tick`. Text flows on unchanged. A message of bytes that are not UTF-8 is
    dropped.

    Example:
        message = ["text", "broadcast"]
    """

    def change(self, value: Any) -> Any:
        if isinstance(value, str):
            return None
        try:
            return (value if isinstance(value, bytes) else json_bytes(value)).decode()
        except UnicodeDecodeError:
            return DROP

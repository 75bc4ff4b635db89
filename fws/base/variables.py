"""`${NAME}` and `${NAME:-default}` in strings of the TOML, filled from the environment after the file was parsed."""

from __future__ import annotations

import re
from collections.abc import Mapping

# The default ends at the first closing brace. Text that begins like a variable and is malformed is an error.
VARIABLE = re.compile(r"\$\{(?:([A-Za-z_][A-Za-z0-9_]*)(?::-([^}]*))?\})?")


class VariableError(ValueError):
    """A variable is not set or malformed. `offset` is where it begins in the string."""

    def __init__(self, message: str, offset: int, hint: str) -> None:
        super().__init__(message)
        self.offset = offset
        self.hint = hint


def lookup(match: re.Match[str], environ: Mapping[str, str]) -> str:
    """The value of one match of `VARIABLE`. As in a shell, `:-` covers a variable that is empty too.

    Raises:
        VariableError: it is not set and has no default, or it is malformed.
    """
    name, default = match[1], match[2]
    if name is None:
        raise VariableError("'${' begins no variable", match.start(), "write ${NAME} or ${NAME:-default}")
    value = environ.get(name, "")
    if value or (default is None and name in environ):
        return value
    if default is None:
        raise VariableError(f"the variable {name} is not set", match.start(), f"set it, or write ${{{name}:-default}}")
    return default


def fill_variables(text: str, environ: Mapping[str, str]) -> str:
    """`text` with all its variables replaced. Raises VariableError for the first that cannot be."""
    return VARIABLE.sub(lambda match: lookup(match, environ), text)

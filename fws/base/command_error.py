"""The error of a command of the API, with the codes that Centrifugo's clients know."""

from __future__ import annotations

from typing import Final

from fws.base.errors import FwsError

INTERNAL: Final = 100
NOT_FOUND: Final = 104
BAD_REQUEST: Final = 107
NOT_AVAILABLE: Final = 108
UNRECOVERABLE_POSITION: Final = 112

MESSAGES: Final = {
    INTERNAL: "internal server error",
    NOT_FOUND: "not found",
    BAD_REQUEST: "bad request",
    NOT_AVAILABLE: "not available",
    UNRECOVERABLE_POSITION: "unrecoverable position",
}


class CommandError(FwsError):
    """A command cannot be carried out. Its caller gets the code and the message.

    Args:
        code: one of the constants of this module.
        message: what is wrong; if empty, the code's name.
    """

    def __init__(self, code: int, message: str = "") -> None:
        self.code = code
        self.message = message or MESSAGES.get(code, "error")
        super().__init__(f"{self.code} {self.message}")

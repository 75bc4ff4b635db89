"""Every exception of fws, in one tree.

    FwsError
    ├── ConfigError          a file, an option or a stage is wrong; carries every problem found
    ├── StartError the server cannot start: the address cannot be bound, or a filter failed
    ├── FillError            a placeholder of a stage has no value for this client
    │   └── MessageFillError a message does not have the field that a placeholder names, or not as a short text
    ├── StorageError the storage cannot be reached, is full, or has another kind of value
    ├── CommandError         a command of the API cannot be carried out; carries a code (fws.base.command_error)
    ├── OffloadError         a computation in a thread could not begin, or took too long
    ├── ProgramError a program of the filter `exec` is not running, or did not answer, or answered nonsense
    ├── ProtocolError        the peer broke RFC 6455 or a limit; carries the close code
    ├── Refusal              the HTTP request cannot be served; carries the status
    │   └── Reject           raised by a filter in `connect` to refuse a client
    └── Close                raised by a filter to end a connection; carries code and reason

Errors that are sent to a client have its code or status. Errors of a peer (`ProtocolError`, `Refusal`) are normal, and
are counted. Errors of fws or a filter are logged with a traceback.
"""

from __future__ import annotations

from collections.abc import Sequence
from http import HTTPStatus
from typing import TYPE_CHECKING

from fws.base.close_codes import POLICY_VIOLATION, valid_close_code

if TYPE_CHECKING:
    from fws.base.problem import Problem


class FwsError(Exception):
    """The root of all exceptions of fws."""


class ConfigError(FwsError):
    """A configuration is invalid. `problems` has all its problems, in the order of the file."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(str(problem) for problem in self.problems))


class StartError(FwsError):
    """The server cannot start: the address cannot be bound, or a filter failed."""


class FillError(FwsError):
    """A `{placeholder}` has no value for this client, or a value that the option does not accept."""


class MessageFillError(FillError):
    """A message does not have the field that a placeholder names, or the field has an unsuitable value."""


class StorageError(FwsError):
    """The storage cannot be reached, is full, or has another kind of value than expected.

    Args:
        logged: whether it has been logged already, because every call fails until something changes.
    """

    def __init__(self, message: str, *, logged: bool = False) -> None:
        super().__init__(message)
        self.logged = logged


class OffloadError(FwsError):
    """A computation that a filter offloads could not begin because all threads are busy, or took too long."""


class ProgramError(FwsError):
    """A program of the filter `exec` could not be started, has ended, did not answer in time, or answered nonsense."""


class ProtocolError(FwsError):
    """The peer broke the protocol or a limit. The connection is failed with `code` (RFC 6455 7.1.7)."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(f"{code} {reason}")
        self.code = code
        self.reason = reason


class Refusal(FwsError):
    """An HTTP request is answered with an error instead of being served.

    Args:
        status: the HTTP status, 400 to 599.
        reason: one sentence for the person at the other end. It becomes the body.
        headers: further response headers, such as `Sec-WebSocket-Version` with 426.
        advice: what an operator can change. The log has it instead of the reason. It may quote the client's request.
        cause: one word, where a protocol or a metric distinguishes more than the status does: `expired` for a token.
            Clients do not see it. `fws.base.reasons` lists the words that metrics show.
    """

    def __init__(
        self,
        status: int,
        reason: str = "",
        headers: Sequence[tuple[str, str]] = (),
        *,
        advice: str = "",
        cause: str = "",
    ) -> None:
        if not 400 <= status <= 599:
            raise ValueError(f"a refusal needs an HTTP status from 400 to 599, not {status}")
        self.status = status
        self.reason = reason or phrase(status)
        self.headers = tuple(headers)
        self.advice = advice
        self.cause = cause
        super().__init__(f"{status} {self.reason}")


class Reject(Refusal):
    """Raised by a filter to refuse what a client asks for.

    On `connect` the client gets this HTTP status and no connection, and on `subscribe` it does not get the channel. On
    `message` it is for protocols with calls, such as `centrifuge`: the call fails with the reason.
    """

    def __init__(
        self, status: int = 403, reason: str = "", headers: Sequence[tuple[str, str]] = (), *, cause: str = ""
    ) -> None:
        super().__init__(status, reason, headers, cause=cause)


class Close(FwsError):
    """Raised by a filter to end the client's connection with a close code (RFC 6455 7.4).

    Args:
        code: 1000-1003, 1007-1014 or 3000-4999.
        reason: at most 123 bytes of UTF-8; longer ones are cut at a character.
    """

    def __init__(self, code: int = POLICY_VIOLATION, reason: str = "") -> None:
        if type(code) is not int or not isinstance(reason, str):
            raise TypeError("Close takes an integer and a text: Close(4000, 'why')")
        if not valid_close_code(code):
            raise ValueError(f"close code {code} may not be sent: use 1000-1003, 1007-1014 or 3000-4999")
        super().__init__(f"{code} {reason}".strip())
        self.code = code
        self.reason = reason


def phrase(status: int) -> str:
    """Return the reason phrase of an HTTP status: `Forbidden` for 403."""
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Refused"

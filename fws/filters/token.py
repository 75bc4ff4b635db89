"""`token`: a shared secret to come in."""

from __future__ import annotations

import secrets
from collections.abc import Iterable
from typing import TYPE_CHECKING, Annotated, Any

from fws import Help, Secret
from fws.auth.credential import Denied, fingerprint
from fws.auth.login import Login, Made, Order
from fws.auth.shared import Known, TokenFile, Tokens
from fws.filter import Setting
from fws.filters._watch import Watch

if TYPE_CHECKING:
    from fws.client import Client

VARIABLE = "FWS_TOKEN"


class Token(Login):
    """Let in who has one of the tokens.

    On `connect`. Tokens come from a list, a file, a storage, or, when none of these is given, from the variable
    FWS_TOKEN. Each is `TOKEN` or `USER:TOKEN`; the client brings TOKEN alone, and with a user `{identity.user}` is
    USER. A token is visible ASCII without blanks; those that `fws token make` makes cannot be guessed.

    Who brings none is refused with 401, after the 101 with the close code 4401. A token that is taken away from the
    file ends its connections within 5 seconds, with 4401. While the file cannot be read nobody is let in (503),
    and who is in stays.

    Example:
        connect = ["token", "join lobby"]
    """

    tokens: Annotated[list[str], Help("Tokens, each TOKEN or USER:TOKEN."), Secret()] = []
    file: Annotated[str, Help("File of tokens, one a line, relative to the TOML file's folder.")] = ""

    @property
    def waits(self) -> bool:  # type: ignore[override]
        """Whether there is a storage to ask."""
        return False

    def prepare(self, setting: Setting) -> None:
        written = self.tokens
        if not written and not self.file:
            written = [token] if (token := setting.environ.get(VARIABLE, "")) else []
            if not written:
                raise ValueError(f"which token? Set the variable {VARIABLE}, or give one, or the option file")
        self._tokens = Tokens(written)
        self._file = TokenFile(setting.folder / self.file, self.clock) if self.file else None
        self._watch = Watch(self, self._gone, waits=False)
        if self._file is not None:
            try:
                self._file.read()
            except OSError as error:
                raise ValueError(f"file: {error.strerror}") from None
            except ValueError as error:
                raise ValueError(f"file: {error}") from None

    def admit(self, client: Client, token: str) -> None:
        known = self._find(token)
        client.identity = _identity(known)
        client.credential = fingerprint(token)
        if self._file is not None:
            self._watch.add(client, known)

    def check(self, token: str) -> dict[str, Any]:
        return _identity(self._find(token))

    def make(self, order: Order) -> Made:
        token = secrets.token_urlsafe(24)
        line = f"{order.user}:{token}" if order.user else token
        Tokens([line])
        if self._file is not None:
            self._file.add(line)
            return Made(token)
        return Made(token, f"it is good once {line!r} is among the tokens")

    def _find(self, token: str) -> Known:
        known = self._tokens.find(token)
        if known is None and self._file is not None:
            known = self._file.tokens().find(token)
        if known is None:
            raise Denied("unknown", "This token lets nobody in.")
        return known

    def _gone(self, here: dict[Client, Known]) -> Iterable[Client]:
        assert self._file is not None
        try:
            tokens = self._file.tokens()
        except Denied:
            return []
        return [client for client, known in here.items() if known not in tokens and known not in self._tokens]


def _identity(known: Known) -> dict[str, Any]:
    return {"user": known.user} if known.user else {}

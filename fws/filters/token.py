"""`token`: authenticate clients by a shared token."""

from __future__ import annotations

import secrets
from collections.abc import Iterable
from typing import Annotated, Any

from fws import Client, Help, Secret
from fws.auth.credential import MAX_TOKEN, Denied, fingerprint, fresh
from fws.auth.login import VARIABLE, IssuedToken, Login, TokenRequest
from fws.auth.shared import Known, TokenFile, Tokens
from fws.filters._watch import Watch
from fws.pipeline.component import Setting


class Token(Login):
    """Admit clients with one of the tokens.

    On `connect`. Tokens come from a list, a file or the storage. Without these options, the token is the value of the
    variable FWS_TOKEN. Each is written as `TOKEN` or `USER:TOKEN`. The client sends TOKEN only, and USER becomes
    `{identity.user}`. A token consists of visible ASCII without spaces. Tokens from `fws token make` cannot be guessed.

    In the storage, a set has tokens without users, and a map has the user of each token, so that another application
    can issue and revoke tokens. With `one_time`, each token is accepted once, on one node.

    A client without a token is refused with 401, or after the 101 with the close code 4401. If a token is removed from
    the file or the storage, or gets another user, its connections end within 5 seconds with 4401. While the file or the
    storage cannot be read, new clients are refused with 503, and connected ones stay.

    Example:
        connect = ["token", "join lobby"]
    """

    tokens: Annotated[list[str], Help("Tokens, each TOKEN or USER:TOKEN."), Secret()] = []
    file: Annotated[str, Help("File with one token per line, relative to the TOML file's folder.")] = ""
    storage_: Annotated[str, Help("Key of a set of tokens in the storage.")] = ""
    users: Annotated[str, Help("Key of a map in the storage with the user of each token.")] = ""
    one_time: Annotated[bool, Help("Whether a token of the storage is accepted only once.")] = False

    @property
    def waits(self) -> bool:  # type: ignore[override]
        """Whether the storage must be asked."""
        return bool(self.storage_ or self.users)

    @property
    def takes_variable(self) -> bool:
        """Whether no other source of tokens is given."""
        return not (self.tokens or self.file or self.waits)

    def prepare(self, setting: Setting) -> None:
        written = self.tokens
        if self.takes_variable:
            written = [token] if (token := setting.environ.get(VARIABLE, "")) else []
            if not written:
                raise ValueError(
                    f"there is no token: set the variable {VARIABLE}, write a token, or use file, storage or users"
                )
        if self.one_time and (written or self.file or not self.waits):
            raise ValueError(
                "one_time works with the options storage and users only, because all nodes share the storage"
            )
        self._tokens = Tokens(written)
        self._file = TokenFile(setting.folder / self.file, self.clock) if self.file else None
        self._watch = Watch(self, self._gone)
        if self._file is not None:
            try:
                self._file.read()
            except OSError as error:
                raise ValueError(f"file: {error.strerror}") from None
            except ValueError as error:
                raise ValueError(f"file: {error}") from None

    def admit(self, client: Client, token: str) -> None:
        known = self._listed(token)
        if known is not None:
            user = known.user
            if self._file is not None:
                self._watch.add(client, known)
        else:
            found = self._stored(token, take=self.one_time)
            if found is None:
                raise _unknown()
            user = found
            if not self.one_time:
                self._watch.add(client, (token, user))
        client.identity = _identity(user)
        client.credential = fingerprint(token)
        if "message" in self.from_:
            client.divert(self._again)

    def _again(self, client: Client, message: Any) -> bool:
        """The token as the first message of a client that was admitted by a cookie. No other filter gets it."""
        client.undivert(self._again)
        if not isinstance(message, str) or len(message) > MAX_TOKEN + 100:
            return False
        return fingerprint(fresh(message) or message) == client.credential

    def check(self, token: str) -> dict[str, Any]:
        known = self._listed(token)
        user = known.user if known is not None else self._stored(token, take=False)
        if user is None:
            raise _unknown()
        return _identity(user)

    def make(self, request: TokenRequest) -> IssuedToken:
        token = secrets.token_urlsafe(24)
        line = f"{request.user}:{token}" if request.user else token
        Tokens([line])
        if self._file is not None:
            self._file.add(line)
        elif self.users:
            self.storage.set_field(self.users, token, request.user)
        elif self.storage_:
            if request.user:
                raise ValueError("a set has no users: name a map with the option users")
            self.storage.add(self.storage_, token)
        else:
            # Without the token itself, because the note may be logged: in `X=$(fws token make …)` it is not captured.
            where = f"set the variable {VARIABLE} to" if self.takes_variable else "add to the tokens"
            written = f"{request.user}:TOKEN" if request.user else "TOKEN"
            return IssuedToken(token, f"to use this TOKEN, {where} {written}")
        return IssuedToken(token)

    def _listed(self, token: str) -> Known | None:
        known = self._tokens.find(token)
        if known is None and self._file is not None:
            known = self._file.tokens().find(token)
        return known

    def _stored(self, token: str, *, take: bool) -> str | None:
        """The user of a token in the storage, "" without a user; None for an unknown token.

        Args:
            take: whether to remove the token, so that only one of several clients with this token gets it, on all
                nodes.
        """
        # Redis finds a token by a keyed hash, so that the time does not depend on how much of it is right.
        if self.storage_:
            storage = self.storage
            if storage.remove(self.storage_, token) if take else storage.contains(self.storage_, token):
                return ""
        if self.users:
            user = self.storage.get_field(self.users, token)
            if user is not None and (not take or self.storage.delete_field(self.users, token)):
                return user
        return None

    def _gone(self, here: dict[Client, Any]) -> Iterable[Client]:
        listed = {client: known for client, known in here.items() if isinstance(known, Known)}
        stored = {client: known for client, known in here.items() if not isinstance(known, Known)}
        gone = []
        if listed and self._file is not None:
            try:
                tokens = self._file.tokens()
                gone = [client for client, known in listed.items() if known not in tokens and known not in self._tokens]
            except Denied:
                pass
        if stored:
            shown = tuple({token for token, _ in stored.values()})
            good = set(self.storage.get_fields(self.users, *shown).items()) if self.users else set()
            if self.storage_:
                good |= {(token, "") for token in self.storage.contained(self.storage_, *shown)}
            gone += [client for client, known in stored.items() if known not in good]
        return gone


def _identity(user: str) -> dict[str, Any]:
    return {"user": user} if user else {}


def _unknown() -> Denied:
    return Denied("unknown", "This token is not valid here.")

"""`token`: authenticate clients by a shared token."""

from __future__ import annotations

import secrets
from collections.abc import Iterable
from typing import Annotated, Any

from fws import Client, Formerly, Help, Secret
from fws.auth.credential import MAX_TOKEN, Denied, fingerprint, fresh
from fws.auth.login import VARIABLE, IssuedToken, Login, TokenRequest
from fws.auth.shared import Known, TokenFile, Tokens
from fws.auth.used import check_unused, use
from fws.filters._watch import Watch
from fws.pipeline.component import Setting

# Seconds for which a token of the storage is remembered after its use. It has been removed by then, but not if the
# storage fails in between.
REMEMBERED = 86400.0


class Token(Login):
    """Admit clients with one of the tokens.

    On `connect`. Tokens come from a list, a file or the storage. Without these options, the token is the value of the
    variable FWS_TOKEN. Each is written as `TOKEN` or `USER:TOKEN`. The client sends TOKEN only, and USER becomes
    `{identity.user}`. A token consists of visible ASCII without spaces. Tokens from `fws token make` cannot be guessed.

    In the storage, a set has tokens without users, and a map has the user of each token, so that another application
    can issue and revoke tokens.

    With `once`, a token is accepted a single time on all nodes together, also if two clients send it in the same
    instant. The storage remembers its fingerprint under `used:`: that of a listed token or of one in a file for ever,
    because such a token has no end. A token of the storage is removed from there, and remembered for a day. A token
    counts as used even if a later filter refuses its client or the connection breaks, so put the filters that may
    refuse first. Without Redis, the process remembers used tokens until it ends.

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
    once: Annotated[bool, Help("Whether each token is accepted a single time."), Formerly("one_time")] = False

    @property
    def waits(self) -> bool:  # type: ignore[override]
        """Whether the storage must be asked."""
        return self.once or self._has_stored

    @property
    def takes_variable(self) -> bool:
        """Whether no other source of tokens is given."""
        return not (self.tokens or self.file or self._has_stored)

    @property
    def _has_stored(self) -> bool:
        return bool(self.storage_ or self.users)

    def prepare(self, setting: Setting) -> None:
        written = self.tokens
        if self.takes_variable:
            written = [token] if (token := setting.environ.get(VARIABLE, "")) else []
            if not written:
                raise ValueError(
                    f"there is no token: set the variable {VARIABLE}, write a token, or use file, storage or users"
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
        user = self._user_of(token, known)
        if self.once:
            use(self.storage, fingerprint(token), None if known is not None else REMEMBERED)
            if known is None:
                self._remove(token)
        if known is not None:
            if self._file is not None:
                self._watch.add(client, known)
        elif not self.once:
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
        user = self._user_of(token, self._listed(token))
        if self.once:
            check_unused(self.storage, fingerprint(token))
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

    def _user_of(self, token: str, known: Known | None) -> str:
        """The user of a token, "" without a user. Raises Denied for an unknown token.

        Args:
            known: the token's entry if it is in the list or the file.
        """
        if known is not None:
            return known.user
        # Redis finds a token by a keyed hash, so that the time does not depend on how much of it is right.
        if self.storage_ and self.storage.contains(self.storage_, token):
            return ""
        user = self.storage.get_field(self.users, token) if self.users else None
        if user is None:
            raise Denied("unknown", "This token is not valid here.")
        return user

    def _remove(self, token: str) -> None:
        """Remove a token from the storage, because it has been used."""
        if self.storage_:
            self.storage.remove(self.storage_, token)
        if self.users:
            self.storage.delete_field(self.users, token)

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

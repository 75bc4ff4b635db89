"""Filters that let a client in by a token: where they look for it, and how they refuse."""

from __future__ import annotations

from typing import Annotated, Any, NoReturn

import msgspec
from msgspec import Meta

from fws import Client, Duration, Filter, Help, Reject
from fws.auth.credential import Denied, Place, find, of_message, unavailable
from fws.base.errors import StorageError
from fws.pipeline.outcomes import Ask

_PLACES = (
    'Where the token is looked for, in this order; "query" only when asked for. It comes as `Authorization: Bearer '
    "TOKEN`, a cookie, a subprotocol `fws.token.TOKEN`, a field of the query, or, when it is in none of these, as the "
    'first message, TOKEN or {"token": TOKEN}.'
)
# Where `token` has its token from when it is given none, and `fws run --token` puts it.
VARIABLE = "FWS_TOKEN"
# What the client is told to bring (RFC 6750 3).
_CHALLENGE = ("WWW-Authenticate", "Bearer")


class Made(msgspec.Struct, frozen=True):
    """A token that was made, and what is still to be done for it to be good; empty for nothing."""

    token: str
    note: str = ""


class Order(msgspec.Struct, frozen=True):
    """What a token is to be made for.

    Attributes:
        lifetime: seconds, where it has an end.
        claims: further claims, where it has any.
        key, kid: the private key that signs, where another one verifies, and its name.
    """

    user: str = ""
    lifetime: float = 3600.0
    claims: dict[str, Any] = {}
    key: bytes = b""
    kid: str = ""


class Login(Filter, kw_only=True):
    """Subclasses define `admit`, and for the command line `make` and `check`."""

    guards = True

    from_: Annotated[tuple[Place, ...], Meta(min_length=1), Help(_PLACES)] = (
        "header",
        "cookie",
        "subprotocol",
        "message",
    )
    cookie: Annotated[str, Meta(min_length=1), Help("Name of the cookie.")] = "token"
    parameter: Annotated[str, Meta(min_length=1), Help("Name of the field of the query.")] = "token"
    auth_timeout: Annotated[
        Duration, Meta(gt=0), Help("How long a client that brought none may take for its first message.")
    ] = 10.0

    def __repr__(self) -> str:
        """Without the options: some are secrets."""
        return f"<{type(self).__name__}>"

    @property
    def takes_variable(self) -> bool:
        """Whether its token is the variable's."""
        return False

    def admit(self, client: Client, token: str) -> None:
        """Make the client who the token says it is. Raises Denied."""
        raise NotImplementedError

    def check(self, token: str) -> dict[str, Any]:
        """The identity that a token would give. Raises Denied."""
        raise NotImplementedError

    def make(self, order: Order) -> Made:
        """A token that lets in. Raises ValueError when none can be made here."""
        raise NotImplementedError

    def connect(self, client: Client) -> Ask | None:
        try:
            token = find(client.request, self.from_, self.cookie, self.parameter)
            if token is None:
                if "message" in self.from_:
                    return Ask(self._answer, self.auth_timeout)
                raise Denied("missing", "A token is needed here.")
            self.admit(client, token)
        except StorageError:
            deny(self, unavailable())
        except Denied as denied:
            deny(self, denied)
        return None

    def _answer(self, client: Client, message: Any) -> None:
        try:
            self.admit(client, of_message(message))
        except StorageError:
            deny(self, unavailable())
        except Denied as denied:
            deny(self, denied)


def deny(owner: Filter, denied: Denied) -> NoReturn:
    """Refuse a client in `connect`, and count why."""
    count_refused(owner, denied)
    headers = [_CHALLENGE] if denied.status == 401 else [("Retry-After", "1")] if denied.status == 503 else []
    raise Reject(denied.status, denied.text, headers) from None


def count_refused(owner: Filter, denied: Denied) -> None:
    """Count one login that was refused, and why."""
    owner.services.metrics.count("logins_refused", label=denied.cause)

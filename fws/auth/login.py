"""The base of filters that authenticate a client by a token: where they look for it, and how they refuse."""

from __future__ import annotations

from typing import Annotated, Any, NoReturn

import msgspec
from msgspec import Meta

from fws import Client, Duration, Filter, Help, Reject
from fws.auth.credential import Denied, Place, checked, find, of_message, unavailable
from fws.base.errors import StorageError
from fws.pipeline.call import MESSAGE
from fws.pipeline.outcomes import Ask

_PLACES = (
    "Where to look for the token, in this order: the header `Authorization: Bearer TOKEN`, a cookie, a subprotocol "
    "`fws.token.TOKEN`, a field of the query (only if you write it here), or, if it is in none of these, the first "
    'message, TOKEN or {"token": TOKEN}. In the protocol centrifuge, the token of the connect command comes first.'
)
# The variable from which `token` takes its token by default, and which `fws run --token` sets.
VARIABLE = "FWS_TOKEN"
# The response header that asks for a token (RFC 6750 3).
_CHALLENGE = ("WWW-Authenticate", "Bearer")


class IssuedToken(msgspec.Struct, frozen=True):
    """A new token, and what must still be done before it is accepted; empty for nothing."""

    token: str
    note: str = ""


class TokenRequest(msgspec.Struct, frozen=True):
    """What a token is made for.

    Attributes:
        lifetime: seconds, for tokens that expire.
        claims: further claims, for tokens that have claims.
        key, kid: the private key that signs, if another key verifies, and its name.
    """

    user: str = ""
    lifetime: float = 3600.0
    claims: dict[str, Any] = {}
    key: bytes = b""
    kid: str = ""


class Login(Filter, kw_only=True):
    """Authenticates clients by a token. Subclasses define `admit`, and `make` and `check` for the command line."""

    guards = True

    from_: Annotated[tuple[Place, ...], Meta(min_length=1), Help(_PLACES)] = (
        "header",
        "cookie",
        "subprotocol",
        "message",
    )
    cookie: Annotated[str, Meta(min_length=1), Help("Name of the cookie.")] = "token"
    parameter: Annotated[str, Meta(min_length=1), Help("Name of the field in the query.")] = "token"
    auth_timeout: Annotated[
        Duration, Meta(gt=0), Help("Time that a client without a token has for its first message.")
    ] = 10.0

    def __repr__(self) -> str:
        """Without the options, because some of them are secrets."""
        return f"<{type(self).__name__}>"

    @property
    def takes_variable(self) -> bool:
        """Whether its token comes from `FWS_TOKEN`."""
        return False

    def admit(self, client: Client, token: str) -> None:
        """Give the client the identity of its token. Raises Denied."""
        raise NotImplementedError

    def check(self, token: str) -> dict[str, Any]:
        """The identity that this token would give to a client. Raises Denied."""
        raise NotImplementedError

    def make(self, request: TokenRequest) -> IssuedToken:
        """A token that this filter accepts. Raises ValueError if it cannot make one."""
        raise NotImplementedError

    def connect(self, client: Client) -> Ask | None:
        try:
            given = client.call.token
            token = checked(given) if given else find(client.request, self.from_, self.cookie, self.parameter)
            if token is None:
                if "message" in self.from_ and client.call is MESSAGE:
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
    """Refuse a client in `connect`, and count the cause."""
    count_refused(owner, denied)
    headers = [_CHALLENGE] if denied.status == 401 else [("Retry-After", "1")] if denied.status == 503 else []
    raise Reject(denied.status, denied.text, headers, cause=denied.cause) from None


def count_refused(owner: Filter, denied: Denied) -> None:
    """Count one refused token by its cause."""
    owner.services.metrics.count("logins_refused", label=denied.cause)

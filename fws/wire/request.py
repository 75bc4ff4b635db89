"""The upgrade request as filters see it: `client.request`."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import parse_qsl

from fws.wire.handshake import offered_token
from fws.wire.head import Head

# More fields than this in a query are an attack on the parser, not a query.
MAX_QUERY_FIELDS = 100


class Request:
    """The upgrade request. Its parts are parsed on demand, because most filters look at one or two of them.

    Attributes:
        path: decoded, without the query.
        params: the parameters of the endpoint's path, such as `{room}`.
        address: the peer's IP address; empty on a Unix socket.
    """

    __slots__ = ("_head", "address", "params")

    def __init__(self, head: Head, params: Mapping[str, str], address: str) -> None:
        self._head = head
        self.params = params
        self.address = address

    @property
    def path(self) -> str:
        return self._head.path

    @property
    def method(self) -> str:
        """GET for a WebSocket; POST for some clients over plain HTTP."""
        return self._head.method

    @property
    def target(self) -> str:
        """Path and query as they were sent."""
        return self._head.target

    @property
    def headers(self) -> dict[str, str]:
        """Headers by lower-case name. The values of a repeated header are joined with a comma, those of cookies with a
        semicolon.
        """
        return {name: self._head.get(name) or "" for name in self._head.headers}

    @property
    def query(self) -> dict[str, str]:
        """The first value of each field; empty if there are more than 100 fields."""
        try:
            pairs = parse_qsl(self._head.query, keep_blank_values=True, max_num_fields=MAX_QUERY_FIELDS)
        except ValueError:
            return {}
        return dict(reversed(pairs))

    @property
    def offered_token(self) -> str | None:
        """The token in the offered subprotocols, `fws.token.TOKEN`; None without one."""
        return offered_token(self._head)

    @property
    def cookies(self) -> dict[str, str]:
        """Cookies by name. If a name occurs twice, the first counts. U+FFFD replaces what is not UTF-8."""
        # Imported here because Werkzeug takes 50 ms to load, and a command such as `fws check` needs none of it.
        from werkzeug.http import parse_cookie

        # Werkzeug raises for invalid bytes, and any client can send them.
        header = (self._head.get("cookie") or "").encode("latin-1").decode("utf-8", "replace")
        return parse_cookie(header.encode().decode("latin-1")).to_dict()

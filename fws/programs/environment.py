"""The environment of a program: CGI's names (RFC 3875) for what a client's request says, and little else.

Of fws's own environment a program gets `PATH`, `LANG` and what its filter names. Headers and the query may hold
credentials, and any program of the same user can read the environment of a process. A program therefore gets only the
headers that its filter names, and the query only if its filter says so.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from fws.base.errors import ProgramError
from fws.base.trace import traceparent
from fws.pipeline.interfaces import Client

ALWAYS = ("PATH", "LANG")
# Bytes of a value. The limits on a request's head are lower by default; this is for an identity.
MAX_VALUE = 16 * 1024
# `HTTP_PROXY` would make many programs send their own requests through a proxy of the client's choice (httpoxy.org).
FORBIDDEN_HEADERS = ("proxy",)


def inherited(environ: Mapping[str, str], names: Iterable[str]) -> dict[str, str]:
    """What a program gets of fws's own environment. A variable that is not set is left out."""
    return {name: environ[name] for name in (*ALWAYS, *names) if name in environ}


def of_event(event: str) -> dict[str, str]:
    """What a program gets about the event that it is started for."""
    return {"FWS_EVENT": event} | _trace()


def _trace() -> dict[str, str]:
    """The context of that event, if it is traced, under the name that OpenTelemetry proposes."""
    trace = traceparent()
    return {"TRACEPARENT": trace} if trace else {}


def of_client(client: Client, headers: Iterable[str], *, query: bool) -> dict[str, str]:
    """What a program gets about its client.

    Args:
        headers: the names of headers that it gets, in lower case.
        query: whether it gets the query.

    Raises:
        ProgramError: a value cannot be a part of an environment.
    """
    request = client.request
    path, _, rest = request.target.partition("?")
    if not query:
        rest = ""
    user = (client.identity or {}).get("user")
    values = {
        "GATEWAY_INTERFACE": "CGI/1.1",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "REQUEST_METHOD": "GET",
        "REMOTE_ADDR": client.address,
        "REMOTE_USER": "" if user is None else str(user),
        "REQUEST_URI": f"{path}?{rest}" if rest else path,
        "PATH_INFO": client.path,
        "QUERY_STRING": rest,
        "FWS_CLIENT": client.id,
    } | _trace()
    values |= {f"FWS_PATH_{_name(name)}": value for name, value in client.params.items()}
    given = request.headers
    values |= {f"HTTP_{_name(name)}": given[name] for name in headers if name in given}
    for name, value in values.items():
        if "\0" in value or len(value.encode("utf-8", "surrogateescape")) > MAX_VALUE:
            raise ProgramError(f"{name} is longer than {MAX_VALUE} bytes, or has a NUL in it")
    return values


def _name(name: str) -> str:
    """`user-agent` as `USER_AGENT`."""
    return "".join(char if char.isalnum() and char.isascii() else "_" for char in name.upper())

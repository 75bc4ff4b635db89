"""`[admin]`, `[api]` and `[api.keys]`: where the HTTP API is, and which keys may do what."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Annotated

import msgspec

from fws.base.problem import Problem
from fws.config.address import split_listen
from fws.config.channels import ChannelPattern
from fws.pipeline.options import Check, Help, Secret

# Where the API is on the port of [admin] if [api] names no path.
DEFAULT_PATH = "/api"
_PATH = re.compile(r"(?:/[A-Za-z0-9._~-]+)+")
# What else is on the port of [admin].
_TAKEN = ("/login", "/logout", "/session", "/page.css", "/page.js")
# Keys travel in a header.
_KEY = re.compile(r"[!-~]+")


def _check_admin_listen(text: str) -> None:
    if not text:
        return
    address = split_listen(text)
    if isinstance(address, tuple) and address[1] is None:
        raise ValueError(f'{text!r} has no port: write one as well, such as "127.0.0.1:9100"')


def _check_key(key: str) -> None:
    if not key:
        raise ValueError("the key is empty: make one with `openssl rand -hex 32`")
    if not _KEY.fullmatch(key):
        raise ValueError("a key has visible ASCII characters only, and no spaces: make one with `openssl rand -hex 32`")


def _check_path(path: str) -> None:
    if path and (not _PATH.fullmatch(path) or path.startswith("/healthz") or path in _TAKEN):
        raise ValueError(f'{path!r} is not a path for the API: write one without a slash at its end, such as "/api"')


def _check_patterns(patterns: list[str]) -> None:
    for pattern in patterns:
        ChannelPattern.parse(pattern)


class Admin(msgspec.Struct, frozen=True, kw_only=True):
    """A second address, for operators and back ends only."""

    listen: Annotated[
        str,
        Help(
            'Where to listen: "host:port" or "unix:/path", as in [server], but without TLS. If empty, there is no '
            "second address. It must not be reachable from the internet."
        ),
        Check(_check_admin_listen),
    ] = ""


class Api(msgspec.Struct, frozen=True, kw_only=True):
    """The HTTP API."""

    key: Annotated[str, Help("The key that may do everything. Keep it out of browsers."), Check(_check_key), Secret()]
    path: Annotated[
        str,
        Help(
            'Path of the API on the public port, such as "/api". If empty, it is at /api on the port of [admin] only.'
        ),
        Check(_check_path),
    ] = ""


class ApiKey(msgspec.Struct, frozen=True, kw_only=True):
    """A further key, which may do less."""

    key: Annotated[str, Help("The key."), Check(_check_key), Secret()]
    publish: Annotated[
        list[str],
        Help('Channels that it may publish to, as patterns of [channels]: ["chat:*"]. `*` alone is every channel.'),
        Check(_check_patterns),
    ] = []
    read: Annotated[
        bool, Help("Whether it may ask for presence, histories, channels, nodes, pipelines and the generation.")
    ] = False
    admin: Annotated[bool, Help("Whether it may do everything.")] = False


def problems_of(api: Api | None, keys: Mapping[str, ApiKey], admin: Admin, listen: str) -> Iterator[Problem]:
    """What is wrong with the three sections together.

    Args:
        listen: `[server] listen`.
    """
    if admin.listen and admin.listen == listen:
        message = "[server] listens there already"
        yield Problem(message, ("admin", "listen"), hint='write another port, such as "127.0.0.1:9100"')
    if api is not None and not api.path and not admin.listen:
        hint = 'write path = "/api" for the public port, or [admin] listen = "127.0.0.1:9100" for one of its own'
        yield Problem("nobody could reach the API", ("api",), hint=hint, key=True)
    known = {api.key: "[api]"} if api is not None else {}
    for name, key in keys.items():
        if key.key in known:
            hint = "give each its own, so that one can be replaced alone"
            message = f"{known[key.key]} has the same key"
            yield Problem(message, ("api", "keys", name, "key"), hint=hint, hidden=True)
        known[key.key] = f"[api.keys.{name}]"
        if not key.publish and not key.read and not key.admin:
            hint = 'write publish = ["PATTERN"], read = true or admin = true'
            yield Problem("this key may do nothing", ("api", "keys", name), hint=hint, key=True)

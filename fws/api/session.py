"""Sessions of the page for operators: a signed cookie in the place of a key, and which requests it is good for.

The cookie has the name of a key, a time, and a signature that only this key gives. No worker needs to remember it, and
it ends with its time, or when the key is changed or removed. A browser sends it by itself, so that a request counts
only if a page of the same origin has sent it.
"""

from __future__ import annotations

import hmac
import re
import secrets
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable, Mapping
from typing import Any

from fws.api.keys import Key, Keys
from fws.base.errors import Refusal
from fws.wire.head import Head, parse_authority

# Seconds until a session ends, whatever happens in it.
AGE = 12 * 3600
# The most bytes of a cookie that is looked at.
MAX_COOKIE = 1000
# Name, end in Unix time, something random, signature.
_COOKIE = re.compile(r"([\w=-]+)\.([0-9]{1,12})\.([\w-]+)\.([\w-]+={0,2})", re.ASCII)


class Asked:
    """The headers of a request, by their names in lower case."""

    __slots__ = ("_get",)

    def __init__(self, get: Callable[[str], str | None]) -> None:
        self._get = get

    def __call__(self, name: str) -> str | None:
        """The value of a header; None without it."""
        return self._get(name)

    @classmethod
    def by_head(cls, head: Head) -> Asked:
        """Those of a head that was read."""
        return cls(head.get)

    @classmethod
    def by_environ(cls, environ: Mapping[str, Any]) -> Asked:
        """Those of a WSGI environ."""

        def get(name: str) -> str | None:
            key = name.upper().replace("-", "_")
            value = environ.get(key if name == "content-type" else f"HTTP_{key}")
            return None if value is None or (name == "content-type" and not value) else str(value)

        return cls(get)

    def cookie(self, name: str) -> str:
        """The cookie of this name; empty without one."""
        for part in (self("cookie") or "").split(";"):
            key, sign, value = part.strip().partition("=")
            if sign and key == name and len(value) <= MAX_COOKIE:
                return value
        return ""


class Sessions:
    """Makes and reads cookies.

    Args:
        wall: Unix time.
    """

    def __init__(self, wall: Callable[[], float]) -> None:
        self._wall = wall

    def begin(self, key: Key) -> str:
        """The cookie for somebody who has given a key."""
        name = urlsafe_b64encode(key.name.encode()).decode()
        text = f"{name}.{int(self._wall()) + AGE}.{secrets.token_urlsafe(9)}"
        return f"{text}.{urlsafe_b64encode(key.sign(text.encode())).decode()}"

    def read(self, cookie: str, keys: Keys) -> Key | None:
        """The key of a cookie; None if it has ended, or was not made by one of the keys."""
        match = _COOKIE.fullmatch(cookie)
        if match is None or int(match[2]) <= self._wall():
            return None
        text, found = f"{match[1]}.{match[2]}.{match[3]}".encode(), None
        try:
            name, signature = urlsafe_b64decode(match[1]).decode(), urlsafe_b64decode(match[4])
        except ValueError:
            return None
        for key in keys:
            if key.name == name and hmac.compare_digest(key.sign(text), signature):
                found = key
        return found

    def key_in(self, asked: Asked, keys: Keys) -> Key | None:
        """The key of the cookie in a request; None without one that is valid."""
        return self.read(asked.cookie(cookie_name(asked)), keys)

    def key_of(self, asked: Asked, keys: Keys) -> Key | None:
        """The key of a request with a cookie; None if it has no cookie.

        Raises:
            Refusal: 401, the session has ended; 403, another page has sent the request.
        """
        if not asked.cookie(cookie_name(asked)):
            return None
        check_same_origin(asked)
        key = self.key_in(asked, keys)
        if key is None:
            raise Refusal(401, "The session has ended: log in again.", [("WWW-Authenticate", "apikey")])
        return key


def check_same_origin(asked: Asked) -> None:
    """Check that a page of this origin has sent a request, in a form that no other page could have sent unasked.

    Raises:
        Refusal: 403.
    """
    kind = (asked("content-type") or "").partition(";")[0].strip().lower()
    if kind != "application/json":
        raise Refusal(403, "A request with a session has the content type application/json.")
    site, origin = asked("sec-fetch-site"), asked("origin")
    if site is not None:
        # Browsers say this themselves, and a proxy that changes `Host` does not disturb it.
        if site != "same-origin":
            raise Refusal(403, "A page of another site has sent the request.")
    elif origin is None or not _is_host(origin, asked("host")):
        raise Refusal(403, "A page of another origin has sent the request.")


def _is_host(origin: str, host: str | None) -> bool:
    scheme, separator, authority = origin.partition("://")
    if not separator or scheme not in ("http", "https") or host is None:
        return False
    default = 443 if scheme == "https" else 80
    one, other = parse_authority(authority), parse_authority(host)
    if one is None or other is None:
        return False
    return (one[0], one[1] or default) == (other[0], other[1] or default)


def cookie_name(asked: Asked) -> str:
    """The name of the cookie. Browsers do not separate the cookies of ports, so that the port is in its name."""
    authority = parse_authority(asked("host") or "")
    port = None if authority is None else authority[1]
    return "fws_admin" if port is None else f"fws_admin_{port}"


def is_secure(asked: Asked, tls: bool) -> bool:
    """Whether a request came over https, as the browser, or a proxy in front of this server, says."""
    return tls or (asked("origin") or "").startswith("https://") or asked("x-forwarded-proto") == "https"


def set_cookie(asked: Asked, value: str, *, tls: bool) -> str:
    """The value of `Set-Cookie`; an empty value ends the session in the browser."""
    age = AGE if value else 0
    secure = "; Secure" if is_secure(asked, tls) else ""
    return f"{cookie_name(asked)}={value}; Path=/; Max-Age={age}; HttpOnly; SameSite=Strict{secure}"

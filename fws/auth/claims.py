"""A JSON Web Token (RFC 7519, RFC 8725): its signature, made with the one algorithm that is configured, and its claims.

PyJWT verifies signatures; what a head may say and what claims are worth is decided here, under a clock that is passed
in.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any

import jwt
import msgspec

from fws.auth.credential import MAX_TOKEN, Denied
from fws.auth.keys import Keyring

_FORM = re.compile(r"([A-Za-z0-9_-]+)\.([A-Za-z0-9_-]+)\.([A-Za-z0-9_-]+)")
# RFC 7519 5.1, RFC 9068 2.1, RFC 8725 3.11: a token for something else is none for us.
_TYPES = ("jwt", "at+jwt", "application/at+jwt")
MAX_KID = 200


class Rules(msgspec.Struct, frozen=True):
    """What a token's claims must say.

    Attributes:
        audience: one of these must be in `aud`. Without any, a token that names an audience is for somebody else.
        issuer: `iss` must be one of these; none for any.
        required: claims that must be there.
        leeway: seconds that clocks may differ.
    """

    audience: Sequence[str] = ()
    issuer: Sequence[str] = ()
    required: Sequence[str] = ("exp",)
    leeway: float = 0.0


def verify(token: str, algorithm: str, keys: Keyring, rules: Rules, wall: Callable[[], float]) -> dict[str, Any]:
    """The claims of a token that is good now.

    Args:
        algorithm: the only one that is taken.
        wall: Unix time in seconds; asked when the key has been found, which may take a while.

    Raises:
        Denied: with the cause; what a client is told of a token that is not signed right is that and no more.
    """
    if len(token) > MAX_TOKEN:
        raise Denied("too_long", "The token is too long.")
    form = _FORM.fullmatch(token)
    if form is None:
        raise Denied("malformed", "This is not a JSON Web Token.")
    key = keys.find(_kid(_head(form[1]), algorithm))
    try:
        payload = jwt.PyJWS(algorithms=[algorithm]).decode(token, key, algorithms=[algorithm])
    except (jwt.PyJWTError, ValueError, TypeError, RecursionError):
        raise Denied("signature", "The token's signature is not valid here.") from None
    claims = _object(payload)
    if claims is None:
        raise Denied("malformed", "This is not a JSON Web Token.")
    _check(claims, rules, wall())
    return claims


def _head(encoded: str) -> dict[str, Any]:
    try:
        head = _object(jwt.utils.base64url_decode(encoded))
    except ValueError:
        head = None
    if head is None:
        raise Denied("malformed", "This is not a JSON Web Token.")
    return head


def _kid(head: dict[str, Any], algorithm: str) -> str | None:
    """The name of the key that is to verify it. Where the token says to find that key (`jku`, `jwk`) is not heeded."""
    if head.get("alg") != algorithm:
        raise Denied("algorithm", "The token's algorithm is not accepted here.")
    # RFC 7515 4.1.11: who does not understand what is critical must refuse. RFC 7797's `b64` is such an extension.
    if "crit" in head or "b64" in head or "zip" in head:
        raise Denied("critical", "The token needs an extension that is not known here.")
    kind = head.get("typ", "JWT")
    if not isinstance(kind, str) or kind.lower() not in _TYPES:
        raise Denied("malformed", "This is a token for something else.")
    kid = head.get("kid")
    if kid is not None and not (isinstance(kid, str) and len(kid) <= MAX_KID):
        raise Denied("malformed", "This is not a JSON Web Token.")
    return kid


def _object(data: bytes) -> dict[str, Any] | None:
    try:
        value = msgspec.json.decode(data)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def _check(claims: dict[str, Any], rules: Rules, now: float) -> None:
    for name in rules.required:
        if claims.get(name) is None:
            raise Denied("claims", f"The token lacks the claim {name}.")
    times = {name: _time(claims, name) for name in ("exp", "nbf", "iat")}
    if times["exp"] is not None and now >= times["exp"] + rules.leeway:
        raise Denied("expired", "The token has expired.")
    for name in ("nbf", "iat"):
        time = times[name]
        if time is not None and time > now + rules.leeway:
            raise Denied("not_yet", "The token is not valid yet.")
    audience = claims.get("aud")
    if audience is not None or rules.audience:
        named = audience if isinstance(audience, list) else [audience]
        if not any(isinstance(one, str) and one in rules.audience for one in named):
            raise Denied("audience", "The token is for another audience.")
    issuer = claims.get("iss")
    if issuer is not None and not isinstance(issuer, str):
        raise Denied("issuer", "The token is from another issuer.")
    if rules.issuer and issuer not in rules.issuer:
        raise Denied("issuer", "The token is from another issuer.")


def _time(claims: dict[str, Any], name: str) -> float | None:
    value = claims.get(name)
    if value is None:
        return None
    if type(value) not in (int, float) or not abs(value) < 2**53:
        raise Denied("claims", f"The claim {name} of the token is not a time.")
    return float(value)

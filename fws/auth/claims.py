"""Verification of JSON Web Tokens (RFC 7519, RFC 8725): the signature, by a configured algorithm only, and the claims.

PyJWT verifies signatures. Which headers are accepted and which claims are valid is decided here, with a clock that is
passed in.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Sequence
from typing import Any, NamedTuple

import jwt
import msgspec

from fws.auth.credential import MAX_TOKEN, Denied
from fws.auth.keys import Keyring

_FORM = re.compile(r"([A-Za-z0-9_-]+)\.([A-Za-z0-9_-]+)\.([A-Za-z0-9_-]+)")
# RFC 7519 5.1, RFC 7515 4.1.9, RFC 9068 2.1. Other types are tokens for another purpose (RFC 8725 3.11).
_TYPES = ("jwt", "application/jwt", "jose", "at+jwt", "application/at+jwt")
MAX_KID = 200


class Rules(msgspec.Struct, frozen=True):
    """What the claims of a token must say.

    Attributes:
        audience: `aud` must contain one of these. If there are none, a token with an audience is refused.
        issuer: `iss` must be one of these. If there are none, any issuer is accepted.
        required: claims that the token must have.
        leeway: seconds by which clocks may differ.
    """

    audience: Sequence[str] = ()
    issuer: Sequence[str] = ()
    required: Sequence[str] = ("exp",)
    leeway: float = 0.0


class Trusted(NamedTuple):
    """Keys, and the only algorithm that they are used with."""

    algorithm: str
    keys: Keyring


def verify(token: str, trusted: Sequence[Trusted], rules: Rules, wall: Callable[[], float]) -> dict[str, Any]:
    """Return the claims of a token that is valid now.

    Args:
        trusted: keys, each bound to its algorithm (RFC 8725 3.1). There are several while a secret is rotated or
            another algorithm is introduced.
        wall: Unix time in seconds. It is asked after the key has been found, which may take a while.

    Raises:
        Denied: with the cause. A client whose token has a wrong signature learns nothing else.
    """
    if len(token) > MAX_TOKEN:
        raise Denied("too_long", "The token is too long.")
    form = _FORM.fullmatch(token)
    if form is None:
        raise Denied("malformed", "This is not a JSON Web Token.")
    head = _head(form[1])
    kid = _kid(head, {one.algorithm for one in trusted})
    claims = _signed(token, head["alg"], kid, trusted)
    _check(claims, rules, wall())
    return claims


def _signed(token: str, algorithm: str, kid: str | None, trusted: Sequence[Trusted]) -> dict[str, Any]:
    """The claims, if one of the keys for the algorithm has signed them."""
    denied: Denied | None = None
    signature = jwt.PyJWS(algorithms=[algorithm])
    for one in trusted:
        if one.algorithm != algorithm:
            continue
        try:
            keys = one.keys.find(kid)
        except Denied as error:
            # "Cannot be determined now" is a better answer than "another key is unknown".
            denied = error if denied is None or error.status == 503 else denied
            continue
        for key in keys:
            try:
                payload = signature.decode(token, key, algorithms=[algorithm])
            except (jwt.PyJWTError, ValueError, TypeError, RecursionError):
                if denied is None or denied.cause == "key":
                    denied = Denied("signature", "The token's signature is not valid here.")
                continue
            claims = _object(payload)
            if claims is None:
                raise Denied("malformed", "This is not a JSON Web Token.")
            return claims
    raise denied or Denied("key", "The token's key is not known here.")


def _head(encoded: str) -> dict[str, Any]:
    try:
        head = _object(jwt.utils.base64url_decode(encoded))
    except ValueError:
        head = None
    if head is None:
        raise Denied("malformed", "This is not a JSON Web Token.")
    return head


def _kid(head: dict[str, Any], algorithms: Collection[str]) -> str | None:
    """The name of the key that verifies the token. Places of keys that the token names (`jku`, `jwk`) are ignored."""
    if not isinstance(head.get("alg"), str) or head["alg"] not in algorithms:
        raise Denied("algorithm", "The token's algorithm is not accepted here.")
    # A token with critical extensions that are not understood must be refused (RFC 7515 4.1.11). `b64` of RFC 7797 is
    # such an extension.
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

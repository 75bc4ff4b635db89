"""Signatures of requests by the Standard Webhooks scheme, which libraries for many languages verify."""

from __future__ import annotations

import base64
import binascii
import hmac
import re
from hashlib import sha256

# Keys of the scheme have 24 to 64 bytes.
_SHORTEST, _LONGEST = 24, 64
_PREFIX = "whsec_"
_ID = re.compile(r"[A-Za-z0-9_-]{1,256}")
# The option `secret`.
SECRET = (
    "Signs each request by the Standard Webhooks scheme, so that the service can tell who has sent it and when: "
    "whsec_ and the Base64 of 24 to 64 random bytes."
)


def secret_key(secret: str) -> bytes:
    """The key in a secret, which is written as `whsec_` and Base64. Raises ValueError that does not quote it."""
    wrong = f"write {_PREFIX} and the Base64 of {_SHORTEST} to {_LONGEST} random bytes"
    if not secret.startswith(_PREFIX):
        raise ValueError(wrong)
    try:
        key = base64.b64decode(secret.removeprefix(_PREFIX), validate=True)
    except (binascii.Error, ValueError):
        raise ValueError(wrong) from None
    if not _SHORTEST <= len(key) <= _LONGEST:
        raise ValueError(f"{wrong}; this one has {len(key)} bytes")
    return key


def signed(key: bytes, id: str, seconds: float, body: bytes) -> dict[str, str]:
    """The headers that sign a request.

    Args:
        key: the result of `secret_key`.
        id: identifies the event. It is the same if the event is sent again. Letters, digits, `_` and `-`.
        seconds: Unix time of the attempt. Receivers refuse what is older than five minutes.
        body: the body, byte by byte as it is sent.

    Returns:
        The headers `webhook-id`, `webhook-timestamp` and `webhook-signature`.
    """
    if not _ID.fullmatch(id):
        raise ValueError("an id has letters, digits, _ and - only: a dot would make two requests with one signature")
    stamp = str(int(seconds))
    digest = hmac.digest(key, f"{id}.{stamp}.".encode() + body, sha256)
    return {
        "webhook-id": id,
        "webhook-timestamp": stamp,
        "webhook-signature": f"v1,{base64.b64encode(digest).decode()}",
    }

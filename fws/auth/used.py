"""Tokens that are accepted a single time, on all nodes together."""

from __future__ import annotations

from fws.auth.credential import Denied
from fws.pipeline.storage import Storage


def use(storage: Storage, fingerprint: str, expire: float | None) -> None:
    """Use up a token. Of several callers with the same token, on whichever nodes, one returns.

    Args:
        fingerprint: identifies the token without revealing it.
        expire: seconds for which it is remembered; None for ever.

    Raises:
        Denied: the token was used before.
        StorageError: it is not known whether it was, and it may count as used from now on.
    """
    if not storage.compare_and_set(_key(fingerprint), None, "1", expire):
        raise _used()


def check_unused(storage: Storage, fingerprint: str) -> None:
    """Raise Denied if a token was used. It is not used up."""
    if storage.get(_key(fingerprint)) is not None:
        raise _used()


def _key(fingerprint: str) -> str:
    return f"used:{fingerprint}"


def _used() -> Denied:
    return Denied("used", "This token has been used.")

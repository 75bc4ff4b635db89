"""Shared tokens: secrets in a list or a file, one of which a client has to send."""

from __future__ import annotations

import hmac
import logging
import os
import stat
from collections.abc import Callable, Iterable
from hashlib import sha256
from pathlib import Path

import msgspec

from fws.auth.credential import Denied, checked, unavailable
from fws.base.files import FileWatch

logger = logging.getLogger("fws")

# Each token that arrives is compared with all of these. This many take 3 ms. Keep more than that in a storage.
MAX_TOKENS = 10_000
MAX_FILE = 1024 * 1024


class Known(msgspec.Struct, frozen=True):
    """An accepted token: its SHA-256, and the user whose token it is; empty for none."""

    digest: bytes
    user: str


class Tokens:
    """A set of tokens, each written as `TOKEN` or `USER:TOKEN`.

    Raises:
        ValueError: a token is invalid. The message has its number and does not quote it.
    """

    def __init__(self, written: Iterable[str] = ()) -> None:
        self._known = tuple(_known(number, text) for number, text in enumerate(written, 1))
        self._all = frozenset(self._known)
        if len(self._known) > MAX_TOKENS:
            raise ValueError(f"at most {MAX_TOKENS} tokens; keep more in a storage")

    def __len__(self) -> int:
        return len(self._known)

    def find(self, token: str) -> Known | None:
        """The entry of a token. Takes the same time for every token, however much of it is right."""
        digest = _digest(token)
        found = None
        for known in self._known:
            if hmac.compare_digest(digest, known.digest):
                found = known
        return found

    def __contains__(self, known: Known) -> bool:
        return known in self._all


class TokenFile:
    """A file with one token per line, in which lines that begin with # are comments. It is read again when it changes.

    Args:
        clock: monotonic seconds.
    """

    def __init__(self, path: Path, clock: Callable[[], float]) -> None:
        self._path = path
        self._tokens: Tokens | None = None
        self._watch = FileWatch(path, self._load, self._failed, clock)

    def tokens(self) -> Tokens:
        """The tokens of the file, as it was within the last second.

        Raises:
            Denied: 503, the file cannot be read or has an invalid line. No token is accepted until that is corrected.
        """
        self._watch.update()
        if self._tokens is None:
            raise unavailable()
        return self._tokens

    def add(self, line: str) -> None:
        """Append a token. Raises ValueError if the file cannot be written."""
        try:
            with open(self._path, "rb") as file:
                data = file.read()
            with open(self._path, "ab") as file:
                file.write(f"{'' if data[-1:] in (b'', bytes([10])) else chr(10)}{line}{chr(10)}".encode())
        except OSError as error:
            raise ValueError(f"{self._path.name} cannot be written: {error.strerror}") from None

    def _load(self) -> None:
        before, self._tokens = self._tokens, None
        self._tokens = self.read()
        if before and not self._tokens:
            logger.warning("%s has no tokens any more: the access of everybody in it is revoked", self._path.name)

    def _failed(self, reason: str) -> None:
        logger.error("no token of %s is accepted until it can be read: %s", self._path.name, reason)

    def read(self) -> Tokens:
        """The tokens in the file. Raises OSError, or ValueError that names the invalid line."""
        if not stat.S_ISREG(os.stat(self._path).st_mode):
            raise ValueError("it is not a regular file")
        with open(self._path, "rb") as file:
            data = file.read(MAX_FILE + 1)
        if len(data) > MAX_FILE:
            raise ValueError(f"it has more than {MAX_FILE} bytes")
        lines = (line.strip() for line in data.decode("utf-8-sig", "replace").splitlines())
        return Tokens(line for line in lines if line and not line.startswith("#"))


def _known(number: int, text: str) -> Known:
    user, _, token = text.rpartition(":")
    if not user.isprintable():
        raise ValueError(f"the user of token {number} has control characters")
    try:
        return Known(_digest(checked(token)), user)
    except Denied:
        raise ValueError(
            f"token {number} is invalid: write visible ASCII without spaces, at most 8192 characters"
        ) from None


def _digest(token: str) -> bytes:
    return sha256(token.encode("utf-8", "replace")).digest()

"""The keys of the API, and what each of them permits."""

from __future__ import annotations

import hmac
from collections.abc import Iterable, Iterator
from hashlib import sha256

from fws.api.method import Method
from fws.config import Config
from fws.config.channels import ChannelPattern


class Key:
    """One key.

    Args:
        name: as the log shows it.
        secret: the key itself, of which only a digest is kept.
        publish: patterns of the channels that it may publish to.
        read: whether it may read histories and presence, and list channels and nodes.
        admin: whether it may do everything.

    Attributes:
        digest: all that is kept of the key itself.
    """

    __slots__ = ("_patterns", "admin", "digest", "name", "read")

    def __init__(
        self, name: str, secret: str, *, publish: Iterable[str] = (), read: bool = False, admin: bool = False
    ) -> None:
        self.name = name
        self.read = read
        self.admin = admin
        self.digest = sha256(secret.encode()).digest()
        self._patterns = [ChannelPattern.parse(pattern).expression for pattern in publish]

    def is_this(self, digest: bytes) -> bool:
        """Compare a digest with that of the key, in constant time."""
        return hmac.compare_digest(self.digest, digest)

    def permits(self, method: Method) -> bool:
        """Whether it may call a method at all. Channels and the commands of a batch are checked further."""
        return method.permits(publish=bool(self._patterns), read=self.read, admin=self.admin)

    def sign(self, data: bytes) -> bytes:
        """A signature that only this key gives. The key does not follow from it."""
        return hmac.digest(hmac.digest(self.digest, b"fws admin page", "sha256"), data, "sha256")

    def may_publish_to(self, channel: str) -> bool:
        """Whether one of its patterns matches a channel. It counts for a key that may not do everything."""
        return any(pattern.fullmatch(channel) for pattern in self._patterns)


class Keys:
    """All keys of a configuration."""

    __slots__ = ("_keys",)

    def __init__(self, keys: Iterable[Key] = ()) -> None:
        self._keys = tuple(keys)

    @classmethod
    def of(cls, config: Config) -> Keys:
        """The keys of a file; none without [api]."""
        if config.api is None:
            return cls()
        further = (
            Key(name, key.key, publish=key.publish, read=key.read, admin=key.admin)
            for name, key in config.api_keys.items()
        )
        return cls([Key("[api]", config.api.key, admin=True), *further])

    def __iter__(self) -> Iterator[Key]:
        return iter(self._keys)

    def permit(self, key: Key, method: Method) -> bool:
        """Whether a key, perhaps of an earlier configuration, is one of them and permits a method."""
        return any(one.is_this(key.digest) and one.permits(method) for one in self._keys)

    def find(self, secret: str) -> Key | None:
        """The key that was given. The time does not depend on how much of it is right, or on which one it is."""
        digest = sha256(secret.encode("utf-8", "surrogateescape")).digest()
        found = None
        for key in self._keys:
            if key.is_this(digest):
                found = key
        return found

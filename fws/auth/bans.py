"""The map of bans in the storage: the filter `ban` reads and writes it, and so does the API.

It has the fields `user:USER`, `address:ADDRESS` and `token:NAME`. The value is the Unix time at which the ban ends; an
empty value makes the ban permanent.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from ipaddress import ip_address
from typing import Any, NamedTuple

from fws.base.addresses import site
from fws.pipeline.storage import Storage

# Seconds after its end at which a ban is taken out of the storage: by then nobody is about to renew it.
FORGET = 24 * 3600.0
# What can be banned.
KINDS = ("user", "address", "token")


class Banned(NamedTuple):
    """One ban.

    Attributes:
        kind: `user`, `address` or `token`.
        name: the user, the address, or the name of the token.
        until: the Unix time at which it ends; 0.0 for a permanent one.
    """

    kind: str
    name: str
    until: float


class Bans:
    """One map of bans. Its methods may block, and raise StorageError.

    Args:
        storage: where the map is.
        key: the key of the map.
        wall: Unix time.
    """

    def __init__(self, storage: Storage, key: str, wall: Callable[[], float]) -> None:
        self._storage = storage
        self._key = key
        self._wall = wall

    def put(self, field: str, seconds: float | None) -> None:
        """Ban somebody for some seconds; None for a permanent ban."""
        until = "" if seconds is None else str(math.ceil(self._wall() + seconds))
        self._storage.set_field(self._key, field, until)

    def remove(self, field: str) -> bool:
        """End a ban. Returns whether there was one, even one that was over."""
        return self._storage.delete_field(self._key, field) > 0

    def active(self, fields: Iterable[str]) -> set[str]:
        """Those of the fields that are banned now. What has been over for a day is forgotten."""
        found = self._storage.get_fields(self._key, *fields)
        now = self._wall()
        over = {field for field, until in found.items() if end_of(until) <= now}
        if forget := [field for field in over if end_of(found[field]) <= now - FORGET]:
            self._storage.delete_field(self._key, *forget)
        return found.keys() - over

    def all(self) -> list[Banned]:
        """Every ban that is not over, in the order of kinds and names."""
        now, found = self._wall(), []
        for field, until in sorted(self._storage.fields(self._key).items()):
            kind, colon, name = field.partition(":")
            end = end_of(until)
            if colon and kind in KINDS and end > now:
                found.append(Banned(kind, name, 0.0 if math.isinf(end) else end))
        return found


def fields_of(client: Any) -> dict[str, str]:
    """The fields of the map that would refuse a client, by what they name.

    `address` is the network of an IPv6 address, and `single` the address itself.
    """
    fields = {}
    if client.address:  # clients of a UNIX socket have no address, and are not the same client
        fields = {"address": f"address:{site(client.address)}", "single": f"address:{client.address}"}
    user = (client.identity or {}).get("user")
    if isinstance(user, str | int) and user != "":
        fields["user"] = field_of("user", str(user))
    if client.credential:
        fields["token"] = f"token:{client.credential}"
    return fields


def field_of(kind: str, name: str) -> str:
    """The field for a user, an address or a token. Raises ValueError for what is no address."""
    if kind == "address":
        try:
            ip = ip_address(name.partition("%")[0])
        except ValueError:
            raise ValueError(f"{name!r} is not an IP address") from None
        return f"address:{getattr(ip, 'ipv4_mapped', None) or ip}"  # as the address of a client
    # A storage does not accept every Python text. One such name must not prevent the check of the others.
    return f"{kind}:{name}".encode("utf-8", "replace").decode()


def end_of(until: str) -> float:
    """When a ban ends. A value that is not a time is a permanent ban, to be safe."""
    try:
        end = float(until)
    except ValueError:
        return math.inf
    return math.inf if math.isnan(end) else end

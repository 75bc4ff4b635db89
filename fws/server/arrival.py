"""An accepted connection, before it is a client."""

from __future__ import annotations

from fws.base.errors import Refusal
from fws.server.admission import Lease


class Arrival:
    """An accepted connection.

    Attributes:
        address: the peer's address.
        lease: counts the connection towards limits; None if the address is not known yet, or the client has the lease.
        refusal: the answer to its first request; None if it is admitted.
    """

    __slots__ = ("address", "lease", "refusal")

    def __init__(self, address: str) -> None:
        self.address = address
        self.lease: Lease | None = None
        self.refusal: Refusal | None = None

    def leave(self) -> None:
        if self.lease is not None:
            self.lease.leave()

"""`ban`: clients that are refused, for a time or permanently."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal, NoReturn

from msgspec import Meta

from fws import Client, Close, Duration, Filter, Help, Reject
from fws.auth.bans import Bans, fields_of
from fws.auth.credential import Denied, unavailable
from fws.auth.login import deny
from fws.base.close_codes import REFUSED
from fws.base.errors import StorageError
from fws.filters._watch import Watch
from fws.pipeline.component import Setting


class Ban(Filter):
    """Refuse banned clients, or ban the client that sends the message.

    On `subscribe`, the subscription of a banned client is refused with 403.

    On `connect` a client is refused with 403 (after the 101 with the close code 4403) if its address, user or token is
    in the storage's map of bans. A client that is banned later is disconnected within 5 s, on every node, with 4403.
    Behind `token` or `jwt` the filter knows the user and the token; in front of them it knows the address only. While
    the storage cannot be read, new clients are refused with 503, and connected ones stay.

    On `message` the client's user, address or token is put into the map, and its connection ends with 4403. A client
    without a user or token is banned by its address. On a UNIX socket, where it has no address, its connection ends and
    nothing is banned.

    The map has the fields `user:USER`, `address:ADDRESS` and `token:NAME`. An IPv6 address is a single one or a network
    such as `2001:db8::`, since the first 64 bits belong to one customer; on `message` it is the network. NAME is the
    token's `jti`. Without one it is 32 hexadecimal digits of the token's SHA-256, for a JWT without its signature. The
    value is the Unix time at which the ban ends; an empty value makes the ban permanent. `ban` and `unban` of the HTTP
    API, and the page for operators, write to the map that this filter reads on `connect` or `subscribe`.

    Example:
        connect = ["ban", "token", "ban", "join lobby"]
        message = ["json", "abuse"]

        [filters.abuse]
        use = "switch"
        key = "type"
        [filters.abuse.case]
        spam = ["ban user for=1h"]
    """

    guards = True
    # The API writes to the map that a filter with this mark reads.
    reads_bans: ClassVar[bool] = True

    by: Annotated[Literal["user", "address", "token"], Help("What is banned: the client's user, address or token.")] = (
        "user"
    )
    for_: Annotated[Annotated[Duration, Meta(gt=0)] | None, Help("Duration of the ban; the default is permanent.")] = (
        None
    )
    key: Annotated[str, Meta(min_length=1), Help("Key of the map in the storage.")] = "bans"

    def prepare(self, setting: Setting) -> None:
        self._watch = Watch(self, self._banned, code=REFUSED + 403)

    def connect(self, client: Client) -> None:
        try:
            if self._banned({client: None}):
                raise Denied("banned", "You may not connect here.", 403)
        except StorageError:
            deny(self, unavailable())
        except Denied as denied:
            deny(self, denied)
        self._watch.add(client, None)

    def subscribe(self, client: Client, channel: str) -> None:
        try:
            if self._banned({client: None}):
                raise Reject(403, "You may not have this channel.")
        except StorageError:
            raise Reject(503, "Access cannot be decided now.") from None

    def message(self, client: Client, message: Any) -> NoReturn:
        fields = fields_of(client)
        field = fields.get(self.by) or fields.get("address")
        try:
            if field is not None:
                self._bans.put(field, self.for_)
        except StorageError:
            self.services.metrics.count("storage_faults")
        self.services.metrics.count("bans")
        raise Close(REFUSED + 403, "banned")

    @property
    def _bans(self) -> Bans:
        return Bans(self.storage, self.key, self.wall)

    def _banned(self, here: dict[Client, Any]) -> list[Client]:
        fields = {client: set(fields_of(client).values()) for client in here}
        active = self._bans.active(set().union(*fields.values()))
        return [client for client, its in fields.items() if its & active]

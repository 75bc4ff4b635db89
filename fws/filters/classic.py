"""`classic`: filters written for the older Python API, in a pipeline."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Collection, Mapping
from typing import Annotated, Any

from fws import Client, Close, Filter, Help, Publication
from fws.base.close_codes import INTERNAL_ERROR
from fws.classic.filters import base
from fws.classic.instance import Received, instance_of, shared_of, text_or_bytes

CHAINS: dict[str, type[base.FilterBase]] = {
    "data": base.WebSocketDataFilter,
    "message": base.WebSocketMessageFilter,
    "disconnect": base.WebSocketDisconnectFilter,
    "publication": base.WebSocketConsumerFilter,
}


class Classic(Filter):
    """Run filters for the older Python API: those of some modules, or all that are imported.

    The events `data`, `message`, `disconnect` and `publication` run the chains of `WebSocketDataFilter`,
    `WebSocketMessageFilter`, `WebSocketDisconnectFilter` and `WebSocketConsumerFilter`, in the order in which the
    filters were defined. They get a message as a `bytearray`, and the message with their changes flows on, as text if
    it arrived as text. They get a publication as a dict with `type`, `pattern`, `channel` and `data`. Data and
    publications flow on unchanged. Their `storage_object` is the storage that all filters share. What they publish with
    it goes to the members of a channel, as with `publish`.

    A module is imported by its full name, also from the folder in which fws is started. If one of these filters raises,
    the following ones are not called, and the connection is closed with 1011, as with the older server.

    Example:
        message    = ["rate_limit 20/s", "classic fws.classic.filters.broadcast_messages_by_token"]
        disconnect = ["classic fws.classic.filters.broadcast_messages_by_token"]
    """

    modules: Annotated[list[str], Help("Modules whose filters run; without any, those of all imported modules.")] = []

    def __post_init__(self) -> None:
        if "" not in sys.path and "." not in sys.path:
            sys.path.append("")  # last, so that nothing in the folder replaces a module of Python
        for module in self.modules:
            try:
                importlib.import_module(module)
            except (Exception, SystemExit) as error:  # a user's module may raise anything when it is imported
                reason = f"{type(error).__name__}: {error}"
                raise ValueError(f"the module {module!r} cannot be imported: {reason}") from None
        self._only: Collection[str] | None = frozenset(self.modules) if self.modules else None

    @classmethod
    def check_event(cls, event: str, options: Mapping[str, Any]) -> None:
        modules = options.get("modules")
        if modules and not all(isinstance(module, str) for module in modules):
            raise ValueError("placeholders are not allowed here, because a client could choose what is imported")
        if modules and not any(member.__module__ in modules for member in CHAINS[event].chain):
            raise ValueError(f"no filter for {event} is in {', '.join(modules)}")

    def data(self, client: Client, data: bytes) -> None:
        self._run(base.WebSocketDataFilter, client, data)

    def message(self, client: Client, message: Any) -> Any:
        if not isinstance(message, str | bytes):
            raise TypeError(f"older filters accept text and bytes, not {type(message).__name__}: put `text` before")
        given = message.encode("utf-8", "replace") if isinstance(message, str) else message
        changed = bytearray(given)
        self._run(base.WebSocketMessageFilter, client, changed)
        if changed == given:
            return None
        return text_or_bytes(bytes(changed)) if isinstance(message, str) else bytes(changed)

    def disconnect(self, client: Client) -> None:
        base.WebSocketDisconnectFilter.run(instance_of(client, shared_of(self.services)), None, self._only)

    def publication(self, publication: Publication) -> None:
        received = Received(publication.channel, publication.message)
        base.WebSocketConsumerFilter.run(shared_of(self.services), received, self._only)

    def _run(self, chain: type[base.FilterBase], client: Client, data: bytes | bytearray) -> None:
        try:
            chain.run(instance_of(client, shared_of(self.services)), data, self._only)
        except Close:
            raise
        except Exception:
            # As before: under Twisted, an exception while data was received ended the connection.
            client.close(INTERNAL_ERROR, "a filter failed")
            raise

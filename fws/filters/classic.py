"""`classic`: filters written for the older Python API, in a pipeline."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Collection
from typing import TYPE_CHECKING, Annotated, Any

from fws import Filter, Help, Publication
from fws.classic.filters import base
from fws.classic.instance import instance_of, shared_of, text_or_bytes
from fws.constants import INTERNAL_ERROR

if TYPE_CHECKING:
    from fws.client import Client


class Classic(Filter):
    """Run filters that were written for the older Python API: those of some modules, or all that are imported.

    On `data`, `message`, `disconnect` and `publication` they are those of `WebSocketDataFilter`,
    `WebSocketMessageFilter`, `WebSocketDisconnectFilter` and `WebSocketConsumerFilter`, in the order in which they were
    defined. A message reaches them as a `bytearray`, and what they have made of it flows on, as text if it came as
    text. Data flow on unchanged, and so does a publication.

    A module is imported by its full name; one of the folder that fws is started in is found. When one of these filters
    raises the others behind it are not called, and the connection is closed with 1011, as it was with the older server.

    Example:
        message    = ["rate_limit 20/s", "classic fws.classic.filters.stdout_messages", "broadcast"]
        disconnect = ["classic fws.classic.filters.stdout_messages"]
    """

    modules: Annotated[list[str], Help("Modules whose filters run; without one those of every module imported.")] = []

    def __post_init__(self) -> None:
        if "" not in sys.path and "." not in sys.path:
            sys.path.insert(0, "")  # as for `python my_server.py`
        for module in self.modules:
            try:
                importlib.import_module(module)
            except ImportError as error:
                raise ValueError(f"the module {module!r} does not import: {error}") from None
        self._only: Collection[str] | None = frozenset(self.modules) if self.modules else None

    def data(self, client: Client, data: bytes) -> None:
        self._run(base.WebSocketDataFilter, client, data)

    def message(self, client: Client, message: Any) -> Any:
        if not isinstance(message, str | bytes):
            raise TypeError(f"older filters take text and bytes, not {type(message).__name__}: put `text` before")
        given = message.encode("utf-8", "replace") if isinstance(message, str) else message
        changed = bytearray(given)
        self._run(base.WebSocketMessageFilter, client, changed)
        if changed == given:
            return None
        return text_or_bytes(bytes(changed)) if isinstance(message, str) else bytes(changed)

    def disconnect(self, client: Client) -> None:
        base.WebSocketDisconnectFilter.run(instance_of(client, shared_of(self.hub)), None, self._only)

    def publication(self, publication: Publication) -> None:
        base.WebSocketConsumerFilter.run(shared_of(self.hub), publication.message, self._only)

    def _run(self, chain: type[base.FilterBase], client: Client, data: bytes | bytearray) -> None:
        try:
            chain.run(instance_of(client, shared_of(self.hub)), data, self._only)
        except Exception:
            # As it was: under Twisted an exception while data were received ended the connection.
            client.close(INTERNAL_ERROR, "a filter failed")
            raise

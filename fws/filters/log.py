"""`log`: write a line to the server's log."""

from __future__ import annotations

import logging
from typing import Annotated, Any, Literal

from fws import Client, Filter, Help, Publication, Takes
from fws.filters._shown import shown

logger = logging.getLogger("fws.log")
# The log shortens its lines to 300 bytes, so that more of a message would be lost anyway.
LONGEST = 200


class Log(Filter):
    """Write one line to the server's log: the event, the client and the beginning of the message.

    On every event. The message flows on. The log shortens its lines to 300 bytes and escapes control characters.

    Example:
        connect = ["log"]
        message = ["log level=debug before the limit", "rate_limit 5/s", "log level=debug after it"]
    """

    waits = False

    text: Annotated[str, Help("Text at the beginning of the line."), Takes("rest")] = ""
    level: Annotated[Literal["debug", "info", "warning", "error"], Help("How loud.")] = "info"

    def connect(self, client: Client) -> None:
        self._log("connect", client, client.path)

    def data(self, client: Client, data: bytes) -> None:
        self._log("data", client, data)

    def message(self, client: Client, message: Any) -> None:
        self._log("message", client, message)

    def tick(self, message: Any) -> None:
        self._log("tick", None, message)

    def publication(self, publication: Publication) -> None:
        self._log(f"publication {_channel(publication)}", None, publication.message)

    def deliver(self, client: Client, publication: Publication) -> None:
        self._log(f"deliver {_channel(publication)}", client, publication.message)

    def subscribe(self, client: Client, channel: str) -> None:
        self._log(f"subscribe {channel}", client, client.path)

    def unsubscribe(self, client: Client, channel: str) -> None:
        self._log(f"unsubscribe {channel}", client, client.path)

    def disconnect(self, client: Client) -> None:
        self._log("disconnect", client, f"{client.close_code} {client.close_reason}".strip())

    def _log(self, event: str, client: Client | None, what: Any) -> None:
        level = logging.getLevelNamesMapping()[self.level.upper()]
        if logger.isEnabledFor(level):
            parts = (self.text, event, client.id if client is not None else "", shown(what, LONGEST))
            # Lines that one client causes do not suppress those of others.
            extra = {"event": event.partition(" ")[0]}
            if client is not None:
                extra |= {"cause": client.id, "client": client.id, "address": client.address}
            logger.log(level, "%s", " ".join(part for part in parts if part), extra=extra)


def _channel(publication: Publication) -> str:
    return "everyone" if publication.channel is None else publication.channel

"""`skip_sender`: do not deliver a publication to its sender."""

from __future__ import annotations

from typing import Any

from fws import DROP, Client, Filter, Publication


class SkipSender(Filter):
    """Do not deliver a publication to the client that sent it.

    On `deliver`. If only one filter publishes, `broadcast … to=others` does the same without a cost per receiver.

    Example:
        message = ["broadcast lobby"]
        deliver = ["skip_sender"]
    """

    waits = False

    def deliver(self, client: Client, publication: Publication) -> Any:
        return DROP if publication.sender == client.id else None

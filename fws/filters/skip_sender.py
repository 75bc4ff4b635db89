"""`skip_sender`: a publication does not come back to who sent it."""

from __future__ import annotations

from typing import Any

from fws import DROP, Client, Filter, Publication


class SkipSender(Filter):
    """Keep a publication from the client that sent it.

    On `deliver`. Where only one filter publishes, `broadcast … to=others` does the same at no cost per receiver.

    Example:
        message = ["broadcast lobby"]
        deliver = ["skip_sender"]
    """

    waits = False

    def deliver(self, client: Client, publication: Publication) -> Any:
        return DROP if publication.sender == client.id else None

"""`drop`: nothing flows on."""

from __future__ import annotations

from typing import Any

from fws import DROP, Client, Filter, Publication
from fws.pipeline.outcomes import Drop as Dropped


class Drop(Filter):
    """End the pipeline: what flows goes no further.

    On `data` the bytes never reach the frame parser, on `message` the filters behind it do not see the message, on
    `publication` no client of this process gets it, on `deliver` this receiver does not.

    Example:
        message = ["drop"]
    """

    skips = True
    waits = False

    def data(self, client: Client, data: bytes) -> Dropped:
        return DROP

    def message(self, client: Client, message: Any) -> Dropped:
        return DROP

    def publication(self, publication: Publication) -> Dropped:
        return DROP

    def deliver(self, client: Client, publication: Publication) -> Dropped:
        return DROP

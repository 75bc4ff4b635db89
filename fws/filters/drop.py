"""`drop`: nothing flows on."""

from __future__ import annotations

from typing import Any

from fws import DROP, Client, Filter, Publication
from fws.pipeline.outcomes import Drop as Dropped


class Drop(Filter):
    """End the pipeline, so that nothing flows on.

    On `data`, the bytes are not decoded. On `message`, the following filters do not get the message. On `publication`,
    no client of this process gets the publication. On `deliver`, this receiver does not get it. On
    `tick`, nothing more happens.

    Example:
        message = ["drop"]
    """

    skips = True
    waits = False

    def data(self, client: Client, data: bytes) -> Dropped:
        return DROP

    def message(self, client: Client, message: Any) -> Dropped:
        return DROP

    def tick(self, message: Any) -> Dropped:
        return DROP

    def publication(self, publication: Publication) -> Dropped:
        return DROP

    def deliver(self, client: Client, publication: Publication) -> Dropped:
        return DROP

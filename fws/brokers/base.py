"""What a broker promises: it carries publications to the hub of every process, the publisher's own included."""

from __future__ import annotations

from typing import Protocol

from fws.publication import Publication


class Broker(Protocol):
    """Carries publications. A hub gives every publication to its broker and gets it back through `deliver`."""

    def publish(self, publication: Publication) -> None:
        """Carry one publication to every process. At most once; in order for one publisher on one channel."""

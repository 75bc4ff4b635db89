"""The base of filters that change a value in the same way on every event with a message."""

from __future__ import annotations

from typing import Any

from fws import DROP, Client, Filter, Publication


class Change(Filter):
    """Subclasses define `change(value)`, which returns the new value, None to leave it unchanged, or DROP."""

    waits = False

    def change(self, value: Any) -> Any:
        raise NotImplementedError

    def message(self, client: Client, message: Any) -> Any:
        return self.change(message)

    def tick(self, message: Any) -> Any:
        return self.change(message)

    def publication(self, publication: Publication) -> Any:
        changed = self.change(publication.message)
        return changed if changed is None or changed is DROP else publication.replace(message=changed)

    def deliver(self, client: Client, publication: Publication) -> Any:
        return self.publication(publication)

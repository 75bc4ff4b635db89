"""`join`: make the client a member of a channel."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from msgspec import Meta

from fws import DROP, Client, Help, Reject
from fws.filters._allow import Allow
from fws.pipeline.condition import Term
from fws.pipeline.events import BY_NAME


class Join(Allow):
    """Make the client a member of a channel. It gets all publications there until it leaves or disconnects.

    On `connect` and on `message`, which flows on. Joining a second time has no effect. An invalid channel name (empty,
    more than 200 bytes, control characters, `*`, `?`, `[`), which a placeholder may result in, refuses the client with
    400 on `connect`, and ends the event on `message`.

    If the channel has history, `replay` gives the client its newest publications first. `since` names the place where a
    returning client says how far it has read, `EPOCH:OFFSET`: it gets what came after that, or is told about a gap. A
    client without a position gets what `replay` says. docs/channels.md shows both.

    Example:
        connect = ["join lobby replay=20 since=request.query.since"]
    """

    channel: Annotated[str, Help("Channel to join.")]
    replay: Annotated[
        Annotated[int, Meta(ge=0)] | Literal["last"],
        Help("The number of newest publications that a client without a position gets, or `last` for the latest."),
    ] = 0
    since: Annotated[
        Term | None, Help("Where a client gives the position up to which it has read, such as request.query.since.")
    ] = None

    @classmethod
    def check_event(cls, event: str, options: Mapping[str, Any]) -> None:
        if (since := options.get("since")) is not None:
            since.check_names(BY_NAME[event].names, f"on {event}")
        super().check_event(event, options)

    def connect(self, client: Client) -> None:
        self._ask(client)
        try:
            self._join(client, None)
        except ValueError as error:
            raise Reject(400, f"This channel cannot be joined: {error}.") from None
        if self.allow is not None:
            client.when_renewed(self._ask)

    def _ask(self, client: Client) -> None:
        if not self.allows(client, None, self.channel):
            raise Reject(403, "This channel is not for you.")

    def message(self, client: Client, message: Any) -> Any:
        if not self.allows(client, message, self.channel):
            return DROP
        try:
            return self._join(client, message)
        except ValueError:
            return DROP

    def _join(self, client: Client, message: Any) -> None:
        since = None if self.since is None else self.since.value(client, message)
        replay = 1 if self.replay == "last" else self.replay
        client.join(self.channel, since=since if isinstance(since, str) else "", replay=replay)

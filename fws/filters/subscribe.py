"""`subscribe`: let the client request a channel itself."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from msgspec import Meta

from fws import DROP, Client, Filter, Help, Reject
from fws.pipeline.call import Call
from fws.pipeline.condition import Term
from fws.pipeline.events import BY_NAME


class Subscribe(Filter):
    """Let the client request a channel itself. The message flows on if the client may have it.

    On `message` and on `connect`. Unlike `join`, which expresses the intent of the file, this asks for the client: the
    condition `subscribe` of the channel in [channels] must hold, and the `subscribe` pipeline must pass. On `message`,
    the client gets `{"type": "subscribed", "channel": "tea"}` before anything of the channel; if it is refused,
    `{"type": "refused", "channel": "tea", "status": 403, "reason": "…"}`, and the message ends. On `connect`, where the
    path may name the channel, a client that may not have it is refused. `replay` and `since` are as for `join`. `token`
    names the place of a token for the channel, which `jwt` on `subscribe` checks.

    Example:
        connect = ["jwt HS256 ${JWT_KEY}", "subscribe user:{identity.user}"]
        message = ["json", "subscribe {message.channel} since=message.since token=message.token"]
    """

    channel: Annotated[str, Help("Channel that the client requests.")]
    replay: Annotated[
        Annotated[int, Meta(ge=0)] | Literal["last"],
        Help("The number of newest publications that a client without a position gets, or `last` for the latest."),
    ] = 0
    since: Annotated[
        Term | None, Help("Where a client gives the position up to which it has read, such as message.since.")
    ] = None
    token: Annotated[Term | None, Help("Where a client gives a token for the channel, such as message.token.")] = None

    @classmethod
    def check_event(cls, event: str, options: Mapping[str, Any]) -> None:
        for term in (options.get("since"), options.get("token")):
            if term is not None:
                term.check_names(BY_NAME[event].names, f"on {event}")

    @classmethod
    def asks_rules(cls, options: Mapping[str, Any]) -> bool:
        return True

    def connect(self, client: Client) -> None:
        client.subscribe(
            self.channel,
            since=_text(self.since, client, None),
            replay=1 if self.replay == "last" else self.replay,
            call=Call("subscribe", self.channel, token=_text(self.token, client, None)),
        )

    def message(self, client: Client, message: Any) -> Any:
        answer = {"type": "subscribed", "channel": self.channel}
        try:
            client.subscribe(
                self.channel,
                since=_text(self.since, client, message),
                replay=1 if self.replay == "last" else self.replay,
                call=Call("subscribe", self.channel, token=_text(self.token, client, message)),
                accepted=lambda: client.send(answer),
            )
        except Reject as refusal:
            client.send(
                {"type": "refused", "channel": self.channel, "status": refusal.status, "reason": refusal.reason}
            )
            return DROP
        return None


def _text(term: Term | None, client: Client, message: Any) -> str:
    value = None if term is None else term.value(client, message)
    return value if isinstance(value, str) else ""

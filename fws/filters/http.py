"""`http`: ask an HTTP service what becomes of an event."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from typing import Annotated, Any

from msgspec import Meta

from fws import DROP, Client, Help, Reject, Secret, Size
from fws.auth.credential import Denied
from fws.auth.login import deny
from fws.base.trace import headers as trace_headers
from fws.filters._asking import Asking, given, passed, undecided
from fws.filters._question import question, read_response
from fws.filters._refusal import OnFailure, refuse
from fws.http.error import HttpError
from fws.http.signature import SECRET, secret_key, signed
from fws.http.url import Url
from fws.pipeline.answer import Answer
from fws.pipeline.component import Setting
from fws.wire.encoding import json_bytes


class Http(Asking):
    """Ask an HTTP service what becomes of an event.

    On `connect`, `subscribe`, `message` and `tick`. The service gets a POST request with the JSON object
    `{"event": "message", "client": ID, "address": "…", "path": "/chat", "identity": {…}, "channel": null, "message":
    …}`. A binary message is in `b64data`, in Base64. In a protocol with calls, `call` has the kind, channel and method
    of the call. On `connect` and `subscribe` the message is what the client gives with its request, or null.

    With the status 204, or 200 and no body, everything stays as it is. With 200 and a JSON object, the object says what
    becomes of the event: `message` flows on instead, `drop` ends the pipeline, `reply` is sent to the client, `close`
    ends the connection, and `join`, `leave` and `publish` do what the filters of these names do. On `connect` and
    `subscribe`, `identity` is the client's identity from then on, and `reject` refuses it. With 401 or 403 the client
    or its subscription is refused with the same status, and a message is dropped.

    Anything else is a failure: another status, a redirect, an invalid answer, or none in time. On `connect` and
    `subscribe` a failure refuses with 503. On `message` and `tick`, `on_failure` decides. Requests are not repeated.
    After `failures` requests in a row without an answer in time, or with a status of 500 or more, no requests are made
    for the time of `pause`. An invalid answer does not count, because one client may be its cause. Above `at_once`
    requests wait, within their `timeout`.

    The messages of a client are asked about one after the other, so they stay in order, and while one waits, nothing
    else is read from this client. `fws test` and `fws try` ask the service, too. [Asking a service](http.md) has
    examples.

    Example:
        message = ["rate_limit 5/s", "json", "http http://127.0.0.1:8000/message timeout=1s on_failure=reply", "echo"]
    """

    guards = True

    url: Annotated[Url, Help("The service.")]
    headers: Annotated[tuple[str, ...], Help("Headers of the client's request that are passed to the service.")] = ()
    on_failure: Annotated[OnFailure, Help("How to treat a message when the service fails.")] = "drop"
    secret: Annotated[str, Help(SECRET), Secret()] = ""
    limit: Annotated[Size, Meta(ge=1), Help("The largest answer.")] = 64 * 1024

    @classmethod
    def check_event(cls, event: str, options: Mapping[str, Any]) -> None:
        if event in ("connect", "subscribe") and options.get("on_failure") == "pass":
            raise ValueError(f"on_failure: on {event} a failure always refuses: leave it out")

    def prepare(self, setting: Setting) -> None:
        self._headers = passed(self.headers)
        try:
            self._key = secret_key(self.secret) if self.secret else b""
        except ValueError as error:
            raise ValueError(f"secret: {error}") from None
        self._service = self.open(self.url, setting, self.limit)
        self._said = ""

    def connect(self, client: Client) -> None:
        try:
            answer = self._ask("connect", client, client.call.data)
        except HttpError as error:
            deny(self, undecided(error))
        if answer.reject is not None:
            status, reason = answer.reject.status, answer.reject.reason or "You may not connect here."
            if status == 403:  # every 401 counts as a failed login
                self.services.login_failed(client.address)
            deny(self, Denied("denied", reason, status))
        answer.act(client, self.hub)

    def subscribe(self, client: Client, channel: str) -> None:
        try:
            answer = self._ask("subscribe", client, client.call.data, channel)
        except HttpError as error:
            raise Reject(503, "It cannot be decided whether you may have this channel.", cause=error.cause) from None
        if answer.reject is not None:
            raise Reject(answer.reject.status, answer.reject.reason, cause="denied")
        answer.act(client, self.hub)

    def message(self, client: Client, message: Any) -> Any:
        try:
            answer = self._ask("message", client, message, client.call.channel or None)
        except HttpError:
            if self.on_failure == "pass":
                return None
            return refuse(client, self.on_failure, 503, "the service is not available")
        try:
            if answer.reject is not None:
                raise Reject(answer.reject.status, answer.reject.reason)
            answer.act(client, self.hub)
        except Reject as refusal:  # of the service, or of a channel that it names
            self.services.metrics.count("http_refused")
            return refuse(client, "drop", refusal.status, refusal.reason or "You may not send this.")
        return answer.outcome()

    def tick(self, message: Any) -> Any:
        try:
            answer = self._ask("tick", None, message)
        except HttpError:
            return None if self.on_failure == "pass" else DROP  # there is nobody to reply to
        answer.publish_all(self.hub)
        return answer.outcome()

    def explain(self, client: Any, message: Any, channel: str | None) -> str:
        return self._said

    def _ask(self, event: str, client: Client | None, message: Any, channel: str | None = None) -> Answer:
        """The answer of the service. Raises HttpError, after it was counted and logged, if there is none."""
        try:
            body = json_bytes(question(event, client, message, channel))
            headers = given(client, self._headers) if client is not None else {}
            headers |= {"content-type": "application/json", **trace_headers()}
            if self._key:
                headers |= signed(self._key, f"msg_{secrets.token_hex(12)}", self.wall(), body)
            status, _, answer = self._service.ask("POST", headers, body)
            self._said = f"status {status}"
            return read_response(event, status, answer)
        except HttpError as error:
            self.services.metrics.count("http_failures", label=error.cause)
            self.complain(self.url, error, event, client)
            self._said = str(error)
            raise

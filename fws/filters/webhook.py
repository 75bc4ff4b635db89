"""`webhook`: tell an HTTP service what happened, without making anybody wait."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from msgspec import Meta

from fws import Client, Duration, Filter, Help, Publication, Secret, Size
from fws.http.service import Service
from fws.http.signature import SECRET, secret_key
from fws.http.tls import CA, CERT, KEY, trust
from fws.http.url import Url
from fws.pipeline.component import Setting
from fws.webhooks.courier import Courier, Settings
from fws.webhooks.event import Data
from fws.webhooks.queue import Terms

# The most bytes of an answer, which nobody reads.
MAX_ANSWER = 64 * 1024
# Seconds from the start until the courier begins, which is not needed for a filter that a reload has started and then
# does not use.
BEGIN = 0.5


class Webhook(Filter):
    """Tell an HTTP service what happened, without making anybody wait.

    On `connect`, `message`, `subscribe`, `unsubscribe`, `disconnect`, `publication` and `tick`. Whatever flows, flows
    on at once. The service gets a POST request in the form of the Standard Webhooks specification: `{"id": "…",
    "type": "client.message", "timestamp": "…", "data": {"client": "…", "address": "…", "path": "/", "identity": {…},
    "channel": "…", "message": …}}`. A binary message is in `b64data`, in Base64. With `batch` above 1 the type is
    `batch`, and `data.events` is a list of such objects. [Webhooks](webhooks.md) has all types and fields.

    A status from 200 to 299 means that the service has the events. After 408, 425, 429, a status of 500 or more, and
    without an answer in time, the request is repeated with the same `webhook-id`, after a random time of up to 1 s, 2
    s, 4 s and so on, up to 5 min. `Retry-After` is heeded up to 10 min. Any other status, redirects included, means
    that the service refuses the events. They are given up then, and after `tries` or `age`, and counted. After five
    failures in a row nothing is sent for 10 s, and then one request tries the service.

    With order=client, the events of a client arrive in order: the next request with events of a client is sent when the
    one before it is delivered or given up. With order=channel this holds for the events of a channel that one node
    sends. Everything else is sent in parallel, with up to `at_once` requests. If more than `most` events or
    `most_bytes` wait, new events are dropped and counted.

    **The guarantee.** With Redis, an event is delivered at least once from the moment that it is in Redis, about a
    millisecond after it happened, unless it is given up. If the server ends, the events that wait are delivered by
    another server, or by the same one when it is started again. Without Redis, the server tries once more to deliver
    them when it ends, for a fraction of a second. Then they are lost.

    On `publication`, only the node on which something was published sends the event, so that it is sent once. What
    other applications publish through Redis is not sent. `fws test` and `fws try` send nothing.

    Example:
        connect = ["webhook https://example.org/events ${WEBHOOK_SECRET}"]
        disconnect = ["webhook https://example.org/events ${WEBHOOK_SECRET}"]
    """

    waits = False

    url: Annotated[Url, Help("The service.")]
    secret: Annotated[
        tuple[str, ...],
        Help(f"{SECRET} With two, each request has two signatures, so that keys can be replaced."),
        Secret(),
    ] = ()
    batch: Annotated[int, Meta(ge=1, le=1000), Help("The most events in one request.")] = 1
    wait: Annotated[Duration, Meta(ge=0), Help("With `batch`, the time that an event waits for others.")] = 1.0
    order: Annotated[
        Literal["client", "channel", "none"],
        Help(
            "Whose events stay in order. With `channel`, events without a channel are ordered by client, and vice "
            "versa."
        ),
    ] = "client"
    tries: Annotated[int, Meta(ge=1), Help("The most attempts to send a request.")] = 20
    age: Annotated[Duration, Meta(gt=0), Help("Time after which an event is given up.")] = 86400.0
    timeout: Annotated[Duration, Meta(gt=0), Help("For the whole answer.")] = 15.0
    at_once: Annotated[int, Meta(ge=1), Help("The most requests at the same time.")] = 4
    most: Annotated[int, Meta(ge=1), Help("The most events that wait.")] = 10_000
    most_bytes: Annotated[Size, Meta(ge=1), Help("The most bytes of events that wait.")] = 16 * 1024 * 1024
    ca: Annotated[str, Help(CA)] = ""
    cert: Annotated[str, Help(CERT)] = ""
    key: Annotated[str, Help(KEY)] = ""

    def prepare(self, setting: Setting) -> None:
        ca, cert, key = (setting.folder / name if name else None for name in (self.ca, self.cert, self.key))
        try:
            keys = [secret_key(secret) for secret in self.secret]
        except ValueError as error:
            raise ValueError(f"secret: {error}") from None
        self._settings = Settings(
            self.url,
            Service(
                self.url,
                timeout=self.timeout,
                limit=MAX_ANSWER,
                at_once=self.at_once,
                trusted=trust(self.url, ca, cert, key),
            ),
            self.at_once,
            keys,
            Terms(self.batch, self.wait, self.tries, self.age, self.most, self.most_bytes),
        )
        self._courier: Courier | None = None
        # The filter of this stage after a reload that has changed its options.
        self._heir: Webhook | None = None

    def start(self) -> None:
        if not self.services.simulated:
            self.after(BEGIN, self._begin)

    def stop(self) -> None:
        heir = self._heir
        while heir is not None and heir._heir is not None:
            heir = heir._heir
        if self._courier is None:
            self._settings.service.close()
        else:
            self._courier.stop(heir._begin() if heir is not None else None)

    def adopt(self, old: Webhook) -> None:
        """Deliver what waits in a stage whose options were changed, once the former filter is stopped.

        It may be in use by another stage with the same text.
        """
        old._heir = self

    def connect(self, client: Client) -> None:
        self._tell("connect", client, of(client))

    def subscribe(self, client: Client, channel: str) -> None:
        self._tell("subscribe", client, of(client, channel))

    def message(self, client: Client, message: Any) -> None:
        self._tell("message", client, of(client, client.call.channel or None).say(message))

    def publication(self, publication: Publication) -> None:
        if publication.origin == "here":
            data = Data(client=publication.sender, channel=publication.channel).say(publication.message)
            self._tell("publication", None, data)

    def unsubscribe(self, client: Client, channel: str) -> None:
        self._tell("unsubscribe", client, of(client, channel))

    def disconnect(self, client: Client) -> None:
        data = of(client)
        data.code, data.reason = client.close_code, client.close_reason
        self._tell("disconnect", client, data)

    def tick(self, message: Any) -> None:
        self._tell("tick", None, Data().say(message))

    def explain(self, client: Any, message: Any, channel: str | None) -> str:
        if self.services.simulated:
            return "not sent"
        return f"{0 if self._courier is None else len(self._courier)} events wait"

    def _begin(self) -> Courier:
        if self._courier is None:
            self._courier = Courier(self.services, self._settings)
            self._courier.start()
        return self._courier

    def _tell(self, event: str, client: Client | None, data: Data) -> None:
        if not self.services.simulated:
            courier = self._begin() if self._courier is None else self._courier
            courier.post(event, data, self._lane(data))

    def _lane(self, data: Data) -> str:
        """Events of one lane stay in order. Clients and channels may have the same names."""
        if self.order == "none":
            return ""
        of_client = f"client {data.client}" if data.client is not None else ""
        of_channel = f"channel {data.channel}" if data.channel is not None else ""
        first, second = (of_client, of_channel) if self.order == "client" else (of_channel, of_client)
        return first or second or "server"


def of(client: Client, channel: str | None = None) -> Data:
    """What is told about every event of a client."""
    return Data(client.id, client.address, client.path, client.identity, channel)

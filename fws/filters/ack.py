"""`ack`: clients acknowledge publications, which are sent again until they do."""

from __future__ import annotations

import secrets
from typing import Annotated, Any

from msgspec import Meta

from fws import DROP, Client, Duration, Filter, Help, Publication
from fws.base.timers import Timer
from fws.filters._unacked import Key, Outstanding, Tallies, Tally, Unacked

# What nodes report to a publisher goes through a channel of its own.
REPORTS = "acks:"
# Publications of a node whose receivers have not all settled them.
MOST_TALLIES = 10_000
# Ids are short, because they are kept for each receiver.
LONGEST = 100


class Ack(Filter):
    """Send publications again until clients acknowledge them, and tell the publisher how many have.

    On `message` and on `deliver`, for messages that are JSON objects. Write both stages alike in one endpoint, because
    they are one filter then, and put `ack` first under `deliver`. On `message`, a message gets a random `id` unless it
    has one, and flows on. On `deliver`, each receiver of a publication that has an `id` and comes from a client gets it
    with a number of its own in the field `ack`, and answers `{"ack": number}`. Without an answer within `timeout` it
    gets the publication again, at most `retries` times. Other publications flow on unchanged.

    The guarantee is at least once for members that stay connected, in the order of first sending: a client may get the
    same number twice, and a later publication before the repetition of an earlier one. A client has at most `most`
    unacknowledged publications; beyond that the oldest is given up.

    When all receivers on a node have acknowledged a publication, have left, or were given up, its publisher gets
    `{"type": "acked", "id": 7, "acked": 41, "of": 42}`. With several servers it gets one for each that has receivers,
    with the sums so far.

    Example:
        message = ["json", "ack", "broadcast lobby to=others"]
        deliver = ["ack"]
    """

    waits = False

    timeout: Annotated[Annotated[Duration, Meta(gt=0)], Help("Time after which a publication is sent again.")] = 5.0
    retries: Annotated[int, Meta(ge=0, le=100), Help("How often it is sent again.")] = 3
    most: Annotated[int, Meta(ge=1), Help("The most unacknowledged publications of a client.")] = 1000

    def __post_init__(self) -> None:
        self._tallies = Tallies(MOST_TALLIES)

    def message(self, client: Client, message: Any) -> Any:
        if not isinstance(message, dict):
            return None
        if set(message) == {"ack"}:
            number = message["ack"]
            one = self._of(client).take(number) if type(number) is int else None
            if one is not None:
                self._settle(one, acked=True)
            return DROP
        client.join(REPORTS + client.id)
        return None if _is_id(message.get("id")) else {**message, "id": secrets.token_urlsafe(6)}

    def deliver(self, client: Client, publication: Publication) -> Any:
        message, sender = publication.message, publication.sender
        if publication.channel == REPORTS + client.id:
            self._report(client, message)
            return DROP
        if not isinstance(message, dict) or not _is_id(message.get("id")) or sender is None:
            return None
        outstanding = self._of(client)
        one = outstanding.sent_before(publication) if len(outstanding) else None
        if one is None:
            key = (sender, message["id"])
            self._tallies.sent(key)
            one, given_up = outstanding.add(key, publication, self.clock() + self.timeout)
            if given_up is not None:
                self._settle(given_up, acked=False)
            self._set(client)
        return publication.replace(message={**message, "ack": one.number})

    def _of(self, client: Client) -> Outstanding:
        state: dict[Any, Any] = client.state
        found: Outstanding | None = state.get(self)
        if found is None:
            found = state[self] = Outstanding(self.most)
            client.defer(lambda: self._left(client))
        return found

    def _left(self, client: Client) -> None:
        for one in self._of(client).clear():
            self._settle(one, acked=False)

    def _set(self, client: Client) -> None:
        """Look again when the next publication is due."""
        state: dict[Any, Any] = client.state
        timer: Timer | None = state.get((self, "timer"))
        due = self._of(client).next_due
        if due is not None and (timer is None or timer.call is None):
            state[self, "timer"] = self.timers.at(due, lambda: self._look(client))

    def _look(self, client: Client) -> None:
        if client.closing:
            return
        again, given_up = self._of(client).due(self.clock(), self.timeout, self.retries)
        for one in again:
            channel = one.publication.channel
            if channel is None or channel in client.channels:
                self.services.metrics.count("acks_late")
                client.deliver(one.publication, 0)
            elif self._of(client).take(one.number) is not None:
                self._settle(one, acked=False)  # it is not a member any more
        for one in given_up:
            self._settle(one, acked=False)
        self._set(client)

    def _settle(self, one: Unacked, *, acked: bool) -> None:
        if not acked:
            self.services.metrics.count("acks_missing")
        tally = self._tallies.settled(one.key, acked=acked)
        if tally is not None:
            self._tell(one.key, tally)

    def _tell(self, key: Key, tally: Tally) -> None:
        """Report to the publisher, on whichever node it is."""
        sender, id = key
        self.hub.publish(REPORTS + sender, {"id": id, "acked": tally.acked, "of": tally.of})

    def _report(self, client: Client, report: Any) -> None:
        state: dict[Any, Any] = client.state
        sums: dict[Any, list[int]] = state.setdefault((self, "sums"), {})
        total = sums.setdefault(report["id"], [0, 0])
        total[0] += report["acked"]
        total[1] += report["of"]
        while len(sums) > self.most:
            del sums[next(iter(sums))]
        client.send({"type": "acked", "id": report["id"], "acked": total[0], "of": total[1]})


def _is_id(value: Any) -> bool:
    return type(value) is int or (isinstance(value, str) and 0 < len(value) <= LONGEST)

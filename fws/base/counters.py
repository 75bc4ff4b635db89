"""The catalogue of counters: every counter of fws is declared here once. The log and `/metrics` show them."""

from __future__ import annotations

from typing import Final

import msgspec


class Counter(msgspec.Struct, frozen=True):
    """One counter.

    Attributes:
        name: a plural noun or a participle, in snake case.
        help: what it counts, as a part of a sentence.
        label: what distinguishes counts of the same name, such as `status`. The log shows `refused_403`.
        detail: a second label, which only `/metrics` shows.
        values: labels that `/metrics` has from the beginning, so that an alert sees the first count.
        traffic: whether it counts normal traffic, which the log's summary leaves out.
    """

    name: str
    help: str
    label: str = ""
    traffic: bool = False
    detail: str = ""
    values: tuple[str, ...] = ()

    @property
    def shown(self) -> str:
        """The name as the log shows it, with the label in capitals: `refused_STATUS`."""
        return f"{self.name}_{self.label.upper()}" if self.label else self.name


CATALOGUE: Final[dict[str, tuple[Counter, ...]]] = {
    "Connections": (
        Counter(
            "refused",
            "clients refused, by HTTP status; after the 101 by the status that 4000 was added to",
            "status",
            detail="reason",
        ),
        Counter("clients_over_limit", "connections above `[limits] clients`"),
        Counter("address_clients_over_limit", "connections above `[limits] clients_per_address`"),
        Counter("address_connections_over_rate", "connections above `[limits] connections_per_address`"),
        Counter("user_clients_over_limit", "connections above `[limits] clients_per_user`"),
        Counter("origins_refused", "requests from pages of other sites; they also count as `refused_403`"),
        Counter("handshake_timeouts", "connections without a complete request within `handshake_timeout`"),
        Counter("tls_failures", "connections that did not begin with a TLS handshake"),
        Counter("proxy_errors", "connections that did not begin with a PROXY header"),
        Counter("accept_failures", "connections that could not be accepted because no file descriptor was free"),
        Counter("responses_cut", "plain HTTP responses that the peer did not read to the end"),
    ),
    "Clients": (
        Counter(
            "protocol_errors",
            "connections failed, by close code: 1002 invalid frame, 1007 invalid text or compressed data, "
            "1008 too many fragments, 1009 too large",
            "code",
        ),
        Counter(
            "closes",
            "connections of clients that ended, by close code; those of applications count as `3xxx` and `4xxx`",
            "code",
            traffic=True,
        ),
        Counter("slow_consumers", "clients closed because more than `max_outbox` bytes waited for them"),
        Counter("publications_skipped", "publications that slow consumers did not get because of `slow` in [channels]"),
        Counter("throttles", "times that reading from a client was slowed down to `[limits] messages` or `bytes`"),
        Counter("ping_timeouts", "clients that did not answer a ping within `ping_timeout`"),
        Counter("idle_timeouts", "clients that sent no message for `idle_timeout`"),
    ),
    "Authentication": (
        Counter("failed_logins", "refusals with 401, as the limit `failed_logins` counts them"),
        Counter("failed_logins_over_rate", "connections refused because of too many failed logins from the address"),
        Counter("logins_refused", "tokens refused, by [cause](authentication.md#counters)", "cause"),
        Counter("logins_expired", "connections ended because a JWT expired"),
        Counter("logins_revoked", "connections ended because access was revoked"),
        Counter("requirements_unmet", "clients and messages that did not meet the condition of the filter `require`"),
        Counter("channels_refused", "joins, subscriptions and publications that no condition permitted"),
        Counter("bans", "clients refused or closed by the filter `ban`"),
    ),
    "Pipelines": (
        Counter("filter_faults", "exceptions raised by filters"),
        Counter("storage_faults", "failed calls of the storage"),
        Counter("events_over_rate", "events refused by the filter `rate_limit`"),
        Counter("limits_alone", "events that `rate_limit store=shared` decided about while the storage was away"),
        Counter("messages_over_size", "messages refused by the filter `max_message`"),
        Counter("json_refused", "messages refused by the filter `json`"),
        Counter("schema_refused", "messages that did not match the schema of the filter `schema`"),
        Counter("jq_refused", "messages for which the program of the filter `jq` failed"),
        Counter("lists_over_size", "lists refused by the filter `split`"),
        Counter("delays_over_limit", "messages refused by the filter `delay` because too many waited"),
        Counter("cache_hits", "messages for which the filter `cache` remembered a result", traffic=True),
        Counter("cache_misses", "messages for which the filter `cache` ran its branch", traffic=True),
        Counter("parts_over_limit", "messages that were split into more than 1,000"),
        Counter(
            "messages_unfilled",
            "messages without the field that a placeholder such as `{message.room}` names, or not as a short text",
        ),
        Counter(
            "http_failures",
            "questions of the filter `http` without a usable answer, by cause: unavailable, invalid, busy, paused",
            "cause",
        ),
        Counter("http_refused", "messages that a service refused, as the filter `http` was told"),
        Counter("offloads_refused", "computations that found all threads busy"),
        Counter("offloads_late", "computations that took longer than `offload_timeout`"),
        Counter("stream_entries", "entries that a source `stream` has published", traffic=True),
        Counter("stream_refused", "entries that a source `stream` could not publish"),
        Counter("stream_outages", "times that a source `stream` could not read its stream any more"),
        Counter("ticks", "ticks of schedules that this node has run", traffic=True),
        Counter("ticks_missed", "ticks of schedules that did not run in time"),
        Counter("blocks", "times that a filter held the event loop for longer than `max_block`"),
        Counter("acks_late", "publications that the filter `ack` has sent again"),
        Counter("acks_missing", "publications that a client of the filter `ack` has not acknowledged"),
        Counter("queue_drops", "messages that a full queue of `fws.classic` did not accept"),
    ),
    "Webhooks": (
        Counter("webhooks_delivered", "events that a service of the filter `webhook` has taken", traffic=True),
        Counter("webhooks_retried", "events of failed requests that are sent again, once for each attempt"),
        Counter("webhooks_failed", "events given up: refused by the service, after `tries` attempts, or after `age`"),
        Counter(
            "webhooks_dropped",
            "events that were not accepted because too many waited, or were lost when the process ended",
        ),
        Counter("webhooks_unkept", "attempts to keep events in Redis that failed, so that they were in memory only"),
    ),
    "Programs": (
        Counter("program_starts", "processes that the filter `exec` has started, or tried to", traffic=True),
        Counter("program_restarts", "times that a program of `exec` had to be started again"),
        Counter(
            "program_failures", "programs of `exec` that could not be started, or were ended because they broke a rule"
        ),
        Counter("program_exits", "programs of `exec` that ended by themselves with a status other than 0"),
        Counter("program_timeouts", "answers that a program of `exec` did not give within `timeout`"),
        Counter("program_faults", "events that failed because of a program of `exec`"),
        Counter("program_messages_refused", "messages that a program of `exec` cannot read, as with a line break"),
        Counter("program_answers_refused", "objects of a program of `exec` that cannot be carried out"),
        Counter("programs_over_limit", "clients and messages for which `exec` ran as many processes as `most` says"),
    ),
    "Reload": (
        Counter(
            "reloads",
            "reloads by outcome: done, unchanged, refused, restart",
            "outcome",
            traffic=True,
            values=("done", "unchanged", "refused", "restart"),
        ),
    ),
    "HTTP API": (
        Counter("api_calls", "commands that the API has carried out, or tried to", traffic=True),
        Counter("api_errors", "commands of the API that failed, by [code](api.md#errors)", "code"),
    ),
    "Traces": (Counter("traces_over_limit", "events that were handled without a span because of `[traces] most`"),),
    "Publications": (
        Counter("publications", "messages published to channels", traffic=True),
        Counter("publications_dropped", "publications dropped because 16 MiB were already waiting"),
        Counter("recoveries", "clients that joined with a position or with `replay`"),
        Counter("gaps", "gaps announced: missed publications that the channel does not keep any more"),
        Counter("publications_recovered", "publications that this node had missed and read from the history"),
        Counter("histories_evicted", "channels whose history was forgotten because of `[limits] history_memory`"),
        Counter("keys_unconcluded", "published messages with a key whose outcome the storage did not take"),
        Counter("redis_published", "publications that Redis has acknowledged", traffic=True),
        Counter("redis_received", "messages received from Redis, this node's own included", traffic=True),
        Counter("redis_outages", "times that Redis became unreachable"),
        Counter(
            "redis_gaps",
            "interruptions of the subscription; publications from other nodes in that time are missing here",
        ),
        Counter("redis_dropped", "publications dropped because the buffer was full, or unsent when the process ended"),
        Counter("redis_unconfirmed", "publications sent but not acknowledged; they may or may not have arrived"),
        Counter("redis_refused", "publications that Redis refuses, as to channels that its user may not use"),
        Counter(
            "redis_unclaimed",
            "plain messages of other applications to a channel with history that this node left to others, "
            "because it had just subscribed",
        ),
        Counter("redis_oversized", "messages larger than `[redis] max_message`, in either direction"),
        Counter("redis_malformed", "malformed envelopes and signals, and invalid channel names"),
        Counter("node_answers_missing", "requests to all nodes that some node did not answer in time"),
        Counter("node_requests_dropped", "requests of other nodes that came while 1,000 were being served"),
        Counter("node_faults", "requests of other nodes that failed because of an error in this process"),
        Counter("redis_faults", "received messages that could not be delivered because of an error in this process"),
    ),
}

COUNTERS: Final = {counter.name: counter for group in CATALOGUE.values() for counter in group}

TRAFFIC: Final = frozenset(counter.name for counter in COUNTERS.values() if counter.traffic)

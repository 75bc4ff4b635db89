"""The composition root: makes the parts of one process for one generation, and connects them."""

from __future__ import annotations

import secrets
from functools import partial
from typing import TYPE_CHECKING, cast

from fws import __version__
from fws.brokers.base import Broker
from fws.brokers.memory import MemoryBroker
from fws.channels.hub import Hub
from fws.channels.service import ChannelService
from fws.compiler.generation import Generation, inherit, makers
from fws.config import Config, Limits
from fws.histories.base import History
from fws.histories.memory import MemoryHistory
from fws.nodes.answers import Answers
from fws.nodes.base import Nodes
from fws.nodes.memory import MemoryNodes
from fws.pipeline.journal import Journal
from fws.pipeline.storage import Storage
from fws.presence.base import Presence
from fws.presence.memory import MemoryPresence
from fws.runtime.context import Context
from fws.runtime.offload import Offload
from fws.runtime.scheduler import Scheduler
from fws.schedules.runner import Schedules
from fws.schedules.ticker import PipelineTicker
from fws.server.admission import Admission
from fws.server.commands import Commands, matching
from fws.server.requests import Requests
from fws.storages.memory import MemoryStorage

if TYPE_CHECKING:
    from fws.clients.client import Client
    from fws.redis.connector import Connector
    from fws.tracing.tracer import Tracer

# The Redis back ends are imported where they are used: the library takes 0.1 s to load, which every worker of a server
# without Redis would pay.


class Node:
    """The parts of one process that clients, filters and commands share. `Server` adds the listening socket.

    Args:
        generation: what is served.
        scheduler, broker, storage, history, presence, nodes: for tests, instead of those that the configuration names.

    Attributes:
        generation: the pipelines in force.
        context: clocks, the event loop, timers, counters, and fault reports.
        admission: limits by address and user.
        storage: the state that filters share.
        broker: carries publications between processes.
        history: what channels keep.
        presence: who is a member of channels on all nodes.
        hub: clients, their memberships, and the fan-out.
        channels: what filters and protocols do with channels.
        nodes: asks and tells all nodes.
        answers: serves the requests of nodes.
        commands: what the server API can do, on all nodes.
        offload: computes in threads.
        schedules: pipelines that run at certain times.
        sessions: clients over plain HTTP, by the secret that they send with their commands.
        tracer: traces events; None without [traces].
    """

    def __init__(
        self,
        generation: Generation,
        *,
        scheduler: Scheduler | None = None,
        broker: Broker | None = None,
        storage: Storage | None = None,
        history: History | None = None,
        presence: Presence | None = None,
        nodes: Nodes | None = None,
    ) -> None:
        services = generation.services
        self.generation = generation
        self.sessions: dict[str, Client] = {}
        self.context = context = Context(services.clock, services.wall, scheduler, services.timers, services.metrics)
        self.admission = Admission(generation.config.limits, context.metrics, context.clock)
        self.storage = storage_of(generation) if storage is None else storage
        self.broker = broker_of(generation, context) if broker is None else broker
        self.hub = Hub(context)
        self.history = history_of(generation, context, self.broker) if history is None else history
        self.presence = presence_of(generation, context, self.broker) if presence is None else presence
        parts = (self.hub, self.broker, self.history, self.presence, self.storage)
        self.channels = ChannelService(context, *parts, generation.publication, generation.config.channels)
        self.nodes = nodes_of(context, self.broker) if nodes is None else nodes
        self.answers = Answers()
        Requests(
            self.hub,
            context,
            self.answers,
            matching=matching,
            largest=self.nodes.largest,
            version=__version__,
            id=lambda: self.nodes.id,
        )
        malformed = partial(context.metrics.count, "redis_malformed")
        self.commands = Commands(self.channels, self.nodes, malformed)
        self.schedules = Schedules(context, self.storage)
        services.hub = self.channels
        services.storage = self.storage
        services.journal = journal_of(generation, self.storage)
        services.spawn = context.scheduler.spawn
        limits = generation.config.limits
        self.offload = services.offload = Offload(limits.threads, limits.offload_timeout, context.metrics)
        services.after = context.scheduler.after
        services.connector = partial(connector_of, generation.config)
        services.ticker = partial(PipelineTicker, context)
        services.later = context.scheduler.later
        services.report = context.faults.report
        services.login_failed = self.admission.login_failed
        self.tracer: Tracer | None = None

    def begin_tracing(self, tracer: Tracer) -> None:
        """Trace events from now on. Called before there is any client."""
        self.tracer = tracer
        tracer.instrument(self.generation)
        self.hub.deliveries = tracer.deliveries
        self.channels.swap(self.generation.publication, self.generation.config.channels)

    def start(self) -> None:
        """Begin to carry publications and requests. Nothing may be published or asked before."""
        self.channels.start()
        self.nodes.start(self.answers)

    def serve(self) -> None:
        """Let schedules be due from now on. The filters have started."""
        self.schedules.apply(self.generation.config.schedules, self.generation.schedules)

    @property
    def id(self) -> str:
        """By this id other nodes reach this one. It is empty before `start`."""
        return self.nodes.id

    def swap(self, generation: Generation) -> list[Client]:
        """Put another generation in force, between two events.

        The time grows with the number of clients whose endpoint has changed. Nothing blocks and nothing is awaited, so
        that no event sees a half of each generation.

        Returns:
            The clients whose endpoint does not exist any more. They keep their former one until they are closed.
        """
        old, self.generation = self.generation, generation
        if self.tracer is not None:
            self.tracer.instrument(generation)
        limits = generation.config.limits
        self.admission.limits = limits
        self.offload.set_limits(limits.threads, limits.offload_timeout)
        self.channels.swap(generation.publication, generation.config.channels)
        inherit(generation, old)
        self.schedules.apply(generation.config.schedules, generation.schedules)
        endpoints = {endpoint.path: endpoint for endpoint in generation.all_endpoints()}
        templated = {maker for one in (old, generation) for maker in makers(one)}
        lost = []
        for client in cast("list[Client]", self.hub.present()):
            endpoint = endpoints.get(client.endpoint.path)
            if endpoint is None:
                lost.append(client)
            elif endpoint is not client.endpoint:
                client.move(endpoint, templated)
        return lost

    def identify(self, client: Client) -> tuple[str, str]:
        """Let a client over plain HTTP be found by a secret. Returns it, and the id of this node."""
        secret = secrets.token_urlsafe(24)
        self.sessions[secret] = client
        return secret, self.id

    def forget(self, client: Client) -> None:
        """The client is gone."""
        self.sessions.pop(client.secret, None)

    @property
    def limits(self) -> Limits:
        """`[limits]` of the generation in force."""
        return self.generation.config.limits


def connector_of(config: Config) -> Connector | None:
    """The connector to the Redis that `[redis] url` names; None without a URL."""
    settings = config.redis
    if not settings.url:
        return None
    from fws.redis.connector import Connector

    return Connector.of(settings, config.folder)


def storage_of(generation: Generation) -> Storage:
    """The storage that filters share: in Redis if `[redis] url` is set, else in this process."""
    connector = connector_of(generation.config)
    if connector is None:
        return MemoryStorage(generation.services.clock)
    from fws.storages.redis import RedisStorage

    return RedisStorage(connector, generation.config.redis.prefix, generation.services.clock)


def journal_of(generation: Generation, storage: Storage) -> Journal | None:
    """What outlives this process: there is something if `[redis] url` is set."""
    if not generation.config.redis.url:
        return None
    from fws.journals.redis import RedisJournal
    from fws.storages.redis import RedisStorage

    return RedisJournal(storage) if isinstance(storage, RedisStorage) else None


def broker_of(generation: Generation, context: Context) -> Broker:
    """The broker: Redis if `[redis] url` is set, else one that only calls this process."""
    connector = connector_of(generation.config)
    if connector is None:
        return MemoryBroker()
    from fws.brokers.redis import RedisBroker
    from fws.histories import scripts as of_histories
    from fws.presence import scripts as of_presence

    settings = generation.config.redis
    return RedisBroker(
        connector,
        prefix=settings.prefix,
        subscribe=settings.subscribe,
        buffer=settings.buffer,
        largest=settings.max_message,
        scripts=(*of_histories.ALL, *of_presence.ALL),
        metrics=context.metrics,
        clock=context.clock,
    )


def tracer_of(generation: Generation, context: Context) -> Tracer | None:
    """What traces events, and sends them to the collector; None without [traces]."""
    settings = generation.config.traces
    if settings is None:
        return None
    # Here alone, because OpenTelemetry takes 0.3 s to load, and need not be installed.
    from fws.tracing.export import collector, provider_to
    from fws.tracing.tracer import Tracer

    return Tracer(settings, provider_to(collector(settings), settings), context.metrics, context.clock)


def history_of(generation: Generation, context: Context, broker: Broker) -> History:
    """What channels keep: in Redis if `[redis] url` is set, else in this process."""
    config = generation.config
    if not config.redis.url:
        return MemoryHistory(context.clock, config.limits.history_memory, context.metrics)
    from fws.brokers.redis import RedisBroker
    from fws.histories.redis import RedisHistory

    assert isinstance(broker, RedisBroker)
    return RedisHistory(broker, context.metrics)


def presence_of(generation: Generation, context: Context, broker: Broker) -> Presence:
    """Who is a member of channels: in Redis if `[redis] url` is set, else in this process."""
    if not generation.config.redis.url:
        return MemoryPresence(context.clock, context.timers)
    from fws.brokers.redis import RedisBroker
    from fws.presence.redis import RedisPresence

    assert isinstance(broker, RedisBroker)
    return RedisPresence(broker, context.clock, context.timers, context.metrics)


def nodes_of(context: Context, broker: Broker) -> Nodes:
    """The other nodes: through Redis if the broker is there, else none."""
    if isinstance(broker, MemoryBroker):
        return MemoryNodes(context.scheduler, context.metrics)
    from fws.brokers.redis import RedisBroker
    from fws.nodes.redis import RedisNodes

    assert isinstance(broker, RedisBroker)
    return RedisNodes(broker, context.scheduler, context.metrics)

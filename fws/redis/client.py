"""redis-py clients for commands from any number of greenlets. Values are bytes."""

from __future__ import annotations

from typing import Any

import redis
from redis.cluster import ClusterNode, RedisCluster
from redis.connection import BlockingConnectionPool
from redis.sentinel import SentinelConnectionPool, SentinelManagedConnection

from fws.redis.connector import Connector, ConnectorError
from fws.redis.sentinel import Master

# The most connections of one client, and the seconds that a caller waits for a free one.
CONNECTIONS = 32
FREE = 1.0


def client_of(connector: Connector) -> redis.Redis | RedisCluster:
    """Make a client. A Cluster is asked for its nodes; otherwise nothing is connected yet.

    A command takes 4 s at most: 1 s until a connection is free, 1 s to connect, 2 s for the reply.

    Raises:
        redis.RedisError: no node of the Cluster answers. Commands raise it too; it is then not known whether they were
            carried out.
    """
    address, options = connector.address, connector.options()
    if address.kind == "cluster":
        del options["db"]
        nodes = [ClusterNode(host, port) for host, port in address.hosts]
        if address.tls:
            # redis-py takes no class of connections here, and makes a context for each.
            security = connector.security
            options["ssl"] = True
            options["ssl_cert_reqs"] = "none" if security.verify == "none" else "required"
            options["ssl_check_hostname"] = security.verify == "full"
            for name, value in (("ca_certs", security.ca), ("certfile", security.cert), ("keyfile", security.key)):
                if value:
                    options[f"ssl_{name}"] = value
        return RedisCluster(startup_nodes=nodes, dynamic_startup_nodes=False, max_connections=CONNECTIONS, **options)
    if address.kind == "sentinel":
        # Only its method to find the master is replaced. Ours names the reason if there is none.
        manager: Any = _Sentinels(Master(connector))
        if address.tls:
            options["connection_class"] = type(
                "TlsMasterConnection", (SentinelManagedConnection, connector.connection_class()), {}
            )
        return redis.Redis(connection_pool=SentinelConnectionPool(address.service, manager, **options))
    if address.path:
        options["path"] = address.path
    else:
        options["host"], options["port"] = address.hosts[0]
    pool = BlockingConnectionPool(
        max_connections=CONNECTIONS, timeout=FREE, connection_class=connector.connection_class(), **options
    )
    return redis.Redis(connection_pool=pool)


class _Sentinels:
    """The part of redis-py's `Sentinel` that its pool uses."""

    def __init__(self, master: Master) -> None:
        self._master = master

    def discover_master(self, service: str) -> tuple[str, int]:
        try:
            return self._master.find()
        except ConnectorError as error:
            raise redis.ConnectionError(str(error)) from error

"""Finds the master by asking the Sentinels, and checks the server itself."""

from __future__ import annotations

from fws.redis.connector import CONNECT, Connector, ConnectorError, Stream

# Seconds between two checks for a new master.
WATCH = 1.0


class Master:
    """The present master of a service, which changes with a failover."""

    def __init__(self, connector: Connector) -> None:
        self._connector = connector
        self._sentinels = list(connector.address.hosts)
        self._service = connector.address.service

    def connect(self) -> Stream:
        """Return a stream to the present master. Raises ConnectorError."""
        stream = self._connector.stream(*self.find())
        try:
            # A Sentinel may still name the old master, which may have become a replica.
            if stream.ask(b"ROLE")[:1] != [b"master"]:
                raise ConnectorError("it is a replica, and its Sentinels name no other master yet")
        except BaseException:
            stream.close()
            raise
        return stream

    def find(self) -> tuple[str, int]:
        """Return the address that the Sentinels name.

        Raises:
            ConnectorError: none of them names one. The reason is that of the last Sentinel that could be reached, or
            else of the last one.
        """
        why, answered = "no Sentinel answers", False
        for host, port in tuple(self._sentinels):
            try:
                stream = self._connector.stream(host, port, sentinel=True)
                try:
                    words = (b"SENTINEL", b"GET-MASTER-ADDR-BY-NAME", self._service.encode())
                    found = stream.ask(*words, timeout=CONNECT)
                finally:
                    stream.close()
            except ConnectorError as error:
                if not answered:
                    why = f"the Sentinel {host}:{port} cannot be asked: {error}"
                continue
            if isinstance(found, list) and len(found) == 2:
                # The Sentinel that has answered is asked first next time.
                self._sentinels.remove((host, port))
                self._sentinels.insert(0, (host, port))
                return found[0].decode(), int(found[1])
            why, answered = f"its Sentinels do not know the service {self._service!r}", True
        raise ConnectorError(why)

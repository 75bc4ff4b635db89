"""Where the master is: asked of the Sentinels, and checked at the server itself."""

from __future__ import annotations

from fws.redis.ask import ask
from fws.redis.connector import CONNECT, Link, LinkError, Stream

# Seconds between two questions whether there is another master.
WATCH = 1.0


class Master:
    """The master of a service, which is another one after a failover."""

    def __init__(self, link: Link) -> None:
        self._link = link
        self._sentinels = list(link.address.hosts)
        self._service = link.address.service

    def connect(self) -> Stream:
        """A stream to the master of now. Raises LinkError."""
        stream = self._link.stream(*self.find())
        try:
            # A Sentinel may still name the old one, which may have become a replica.
            if ask(stream, b"ROLE")[:1] != [b"master"]:
                raise LinkError("it is a replica, and its Sentinels name no other master yet")
        except BaseException:
            stream.close()
            raise
        return stream

    def find(self) -> tuple[str, int]:
        """The address that the Sentinels name. Raises LinkError when none of them does."""
        why = "no Sentinel answers"
        for place in tuple(self._sentinels):
            try:
                stream = self._link.stream(*place, plain=True)
                try:
                    words = (b"SENTINEL", b"GET-MASTER-ADDR-BY-NAME", self._service.encode())
                    found = ask(stream, *words, timeout=CONNECT)
                finally:
                    stream.close()
            except LinkError:
                continue
            if isinstance(found, list) and len(found) == 2:
                # The one that has answered is asked first next time.
                self._sentinels.remove(place)
                self._sentinels.insert(0, place)
                return found[0].decode(), int(found[1])
            why = "its Sentinels do not know the service"
        raise LinkError(why)

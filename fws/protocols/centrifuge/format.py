"""How members that speak this protocol receive publications: as pushes, encoded once for each channel and framing."""

from __future__ import annotations

from functools import cache

from fws.channels.formats import Format
from fws.pipeline.publication import Announcement, Notice, Publication
from fws.protocols.centrifuge.replies import (
    ClientInfo,
    broadcast_push,
    join_push,
    leave_push,
    pub_of,
    publication_push,
)
from fws.wire.encoding import payload_of
from fws.wire.framing import Framing


class Pushes(Format):
    """Publications as pushes, and announcements as pushes `join` and `leave`.

    Gaps are not encoded: the session of each member tells it, in the form that its subscription needs.

    Args:
        framing: how a push becomes bytes.
        each: as the attribute.
    """

    __slots__ = ("_framing", "each")

    positions = True

    def __init__(self, framing: Framing, *, each: bool) -> None:
        self._framing = framing
        self.each = each

    def encode(self, publication: Publication, opcode: int, payload: bytes) -> bytes:
        text = self._framing.text
        if isinstance(publication, Notice):
            if not isinstance(publication, Announcement):
                return b""
            return b"".join(map(text, _announced(publication)))
        if publication.channel is None:
            return text(broadcast_push(publication.message, opcode, payload))
        return text(publication_push(publication.channel, pub_of(publication, opcode, payload)))

    def frame(self, publication: Publication) -> bytes:
        return self.encode(publication, *payload_of(publication.message))


def _announced(announcement: Announcement) -> list[bytes]:
    """The pushes for who has joined and left. With many members only their number is announced, which has no push."""
    channel, content = announcement.channel or "", announcement.message
    joined = [join_push(channel, ClientInfo.of(one)) for one in content.get("joined", ())]
    return joined + [leave_push(channel, ClientInfo.of(one)) for one in announcement.left]


@cache
def format_of(framing: Framing, *, each: bool) -> Pushes:
    """The shared format of all clients with the same framing."""
    return Pushes(framing, each=each)

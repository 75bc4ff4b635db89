"""Publications that wait for a client's own greenlet."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from fws.pipeline.publication import Position, Publication


class Handed(msgspec.Struct, frozen=True):
    """A publication for the `deliver` pipeline, and the bytes that it takes while it waits."""

    publication: Publication
    weight: int


class Missed(msgspec.Struct, frozen=True):
    """What a new member of a channel has missed, for the `deliver` pipeline, and the channel's position."""

    channel: str
    publications: Sequence[Publication]
    position: Position | None

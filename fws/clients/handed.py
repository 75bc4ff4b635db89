"""What waits to be served in a client's turn and has not come through its socket."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from fws.pipeline.call import Call
from fws.pipeline.pipeline import Pipeline
from fws.pipeline.publication import Position, Publication


class Resumed(msgspec.Struct, frozen=True):
    """A message that a filter has kept back (`Later`), the rest of its pipeline, and the call that it came with."""

    rest: Pipeline
    message: Any
    call: Call


class Handed(msgspec.Struct, frozen=True):
    """A publication for the `deliver` pipeline, and the bytes that it takes while it waits."""

    publication: Publication
    weight: int


class Missed(msgspec.Struct, frozen=True):
    """What a new member of a channel has missed, for the `deliver` pipeline, and the channel's position."""

    channel: str
    publications: Sequence[Publication]
    position: Position | None

"""A publication that waits for a client's own greenlet."""

from __future__ import annotations

import msgspec

from fws.pipeline.publication import Publication


class Handed(msgspec.Struct, frozen=True):
    """A publication for the `deliver` pipeline, and the bytes that it takes while it waits."""

    publication: Publication
    weight: int

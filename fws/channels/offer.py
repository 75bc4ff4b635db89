"""What a channel says about a frame for a member that may not keep up."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from fws.pipeline.publication import Publication


class Offer(NamedTuple):
    """How a frame of a channel is treated when the client cannot keep up.

    Attributes:
        channel: identifies the channel in the queue.
        latest: whether the newest frame alone is kept. Otherwise, the oldest ones are dropped.
        number: the publications in the frame.
        last: the last of them.
        gap: makes a frame which says that publications up to one are missing; None where the client has no use for it.
    """

    channel: object
    latest: bool
    number: int
    last: Publication
    gap: Callable[[Publication], bytes] | None

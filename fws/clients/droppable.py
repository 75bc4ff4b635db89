"""Queued publications that may be dropped: those of channels with `slow = "drop_oldest"` or `"latest"`."""

from __future__ import annotations

from collections import deque

from fws.channels.offer import Offer


class Droppable(bytes):
    """A queued frame with its offer. A gap stands for the frames that were dropped, and has no count."""

    offer: Offer

    @classmethod
    def of(cls, frame: bytes, offer: Offer) -> Droppable:
        droppable = cls(frame)
        droppable.offer = offer
        return droppable


def drop_oldest(queue: deque[bytes | memoryview], first: int, channel: object) -> tuple[int, int]:
    """Drop the oldest frame of a channel, and leave a gap in its place where the client has a use for it.

    Args:
        first: the number of frames that must stay, because they were sent in part.

    Returns:
        The publications that were dropped, 0 if there were none, and the change of the queue's size in bytes.
    """
    at = -1  # of the gap that stands for frames dropped earlier, which was before the oldest
    for index, frame in enumerate(queue):
        if index < first or not isinstance(frame, Droppable) or frame.offer.channel is not channel:
            continue
        if not frame.offer.number:
            at = index
            continue
        change = -len(frame)
        offer = frame.offer
        if offer.gap is None:
            del queue[index]
            return offer.number, change
        gap = Droppable.of(offer.gap(offer.last), offer._replace(number=0))
        queue[index] = gap
        change += len(gap)
        if at >= 0:
            change -= len(queue[at])
            del queue[at]
        return offer.number, change
    return 0, 0


def leave_gap(queue: deque[bytes | memoryview], first: int, offer: Offer) -> int:
    """Leave a gap at the end, for a frame that does not fit, in the place of an earlier gap of the channel there.

    Returns:
        The change of the queue's size in bytes.
    """
    assert offer.gap is not None
    gap = Droppable.of(offer.gap(offer.last), offer._replace(number=0))
    for index in range(len(queue) - 1, first - 1, -1):
        frame = queue[index]
        if isinstance(frame, Droppable) and frame.offer.channel is offer.channel:
            if frame.offer.number:
                break
            queue[index] = gap
            return len(gap) - len(frame)
    queue.append(gap)
    return len(gap)

"""Which node runs a tick: claims in the storage, which all nodes share. It is pure; the time is passed.

The storage has two values for each schedule:

    schedule:price            the time of the tick that was claimed last, such as 1767225600.0
    schedule:price:running    the node that is running a tick; it expires unless the node renews it

Whoever replaces the first value by that of a later tick may run that tick. The storage replaces a value in one atomic
step, and only if nobody else has, so that each tick runs at most once. The second value keeps ticks from overlapping.
If the node that runs a tick dies, it expires, and the next tick is free for all.
"""

from __future__ import annotations

from fws.pipeline.storage import Storage

# Seconds after which a run no longer holds the next tick back unless its node renews that, and between two renewals.
LEASE = 10.0
RENEW = 3.0
# Seconds for which the storage remembers the last tick: longer than a month, so that missed ones can be counted.
KEPT = 32 * 24 * 3600.0
# No clock is beyond it. What somebody else has written to the storage may be.
_YEAR_10000 = 253402300800.0


class Claims:
    """The claims of one node for one schedule. All methods raise StorageError.

    Args:
        key: of the values in the storage.
        node: the id of this node.
    """

    def __init__(self, storage: Storage, key: str, node: str) -> None:
        self._storage = storage
        self._key = key
        self._running = f"{key}:running"
        self._node = node

    def take(self, due: float, *, overlap: bool) -> tuple[bool, float | None]:
        """Try to claim a tick. If it is claimed, `release` must be called when it has run.

        Args:
            overlap: whether an earlier tick may still be running.

        Returns:
            Whether this node runs it, and the tick that was claimed before.
        """
        storage = self._storage
        text = storage.get(self._key)
        before = _time(text)
        if before is not None and before >= due:
            return False, before
        if not overlap and not storage.compare_and_set(self._running, None, self._node, LEASE):
            return False, before
        if storage.compare_and_set(self._key, text, repr(due), KEPT):
            return True, before
        if not overlap:
            self.release()
        return False, before

    def renew(self) -> bool:
        """Say that a tick is still running. Returns whether this node still holds the next one back."""
        return self._storage.compare_and_set(self._running, self._node, self._node, LEASE)

    def release(self) -> None:
        """Say that no tick is running here any more."""
        self._storage.compare_and_set(self._running, self._node, None)


def _time(text: str | None) -> float | None:
    try:
        time = float(text or "")
    except ValueError:
        return None
    return time if 0 <= time < _YEAR_10000 else None  # also if it is no number

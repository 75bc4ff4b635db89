"""Alarms: what is to be done at a time, for any number of clients without a greenlet or a timer for each."""

from __future__ import annotations

from collections.abc import Callable
from heapq import heapify, heappop, heappush
from itertools import count

# So many cancelled ones may stand in the row before it is tidied.
MAX_CANCELLED = 1000


class Alarm:
    """One call that is to be made; `cancel` takes it back, whether or not it has been made."""

    __slots__ = ("_alarms", "call")

    def __init__(self, alarms: Alarms, call: Callable[[], object]) -> None:
        self._alarms = alarms
        self.call: Callable[[], object] | None = call

    def cancel(self) -> None:
        """Do not ring. No harm if it has rung, or is cancelled already."""
        if self.call is not None:
            self.call = None
            self._alarms.cancelled()


class Alarms:
    """Calls that are to be made, the soonest first. The sweeper rings them, every half a second."""

    __slots__ = ("_cancelled", "_numbers", "_row")

    def __init__(self) -> None:
        self._row: list[tuple[float, int, Alarm]] = []
        self._numbers = count()
        self._cancelled = 0

    def __len__(self) -> int:
        return len(self._row)

    def at(self, when: float, call: Callable[[], object]) -> Alarm:
        """Make a call once the clock shows `when`, in the loop's own time: it must not wait."""
        alarm = Alarm(self, call)
        heappush(self._row, (when, next(self._numbers), alarm))
        return alarm

    def ring(self, now: float, failed: Callable[[BaseException], object]) -> None:
        """Make the calls that are due. What one raises goes to `failed`, and the others are made all the same."""
        due = []
        while self._row and self._row[0][0] <= now:
            due.append(heappop(self._row)[2])
        for alarm in due:
            call, alarm.call = alarm.call, None
            if call is None:
                self._cancelled -= 1
                continue
            try:
                call()
            except BaseException as error:  # a filter may raise anything
                failed(error)

    def cancelled(self) -> None:
        """An alarm that may still stand in the row was cancelled."""
        self._cancelled += 1
        if self._cancelled > MAX_CANCELLED and self._cancelled * 2 > len(self._row):
            self._row = [entry for entry in self._row if entry[2].call is not None]
            heapify(self._row)
            self._cancelled = 0

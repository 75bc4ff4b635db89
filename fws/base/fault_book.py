"""Remembers the faults of the last hour, each cause once."""

from __future__ import annotations

from typing import Any

import msgspec

# Seconds for which a cause is remembered after it was last seen, and the most causes.
KEPT = 3600.0
MOST = 100
# The most characters of a sentence and of a stack.
MAX_WHAT = 300
MAX_STACK = 8000


class Fault(msgspec.Struct):
    """One cause.

    Attributes:
        cause: what makes faults equal.
        event: the event in which it happened.
        where: the filter and the calls from there, as the log shows them.
        what: the exception as the log shows it, the last time.
        stage: the address of the stage; empty if it is not known.
        path: where the stage is in the TOML tree; empty if it is not known.
        client: the client that it last concerned; empty for none.
        stack: the calls, the first time.
        count: how often it was seen.
        first, last: when, in Unix time.
    """

    cause: str
    event: str
    where: str
    what: str
    stage: str
    path: tuple[str | int, ...]
    client: str
    stack: str
    count: int
    first: float
    last: float


class FaultBook:
    """The faults of one process. Clients may cause any number of them, so that the causes are bounded."""

    __slots__ = ("_faults",)

    def __init__(self) -> None:
        self._faults: dict[str, Fault] = {}

    def again(self, cause: str, what: str, client: str, now: float) -> bool:
        """Count a fault whose cause is known. Returns False if it is not known.

        Args:
            now: Unix time.
        """
        known = self._faults.pop(cause, None)
        if known is None:
            return False
        known.count, known.last, known.what, known.client = known.count + 1, now, what[:MAX_WHAT], client
        self._faults[cause] = known  # at the end: the first one is that which was not seen for the longest time
        return True

    def add(self, cause: str, what: str, client: str, now: float, **more: Any) -> None:
        """Remember a new cause. The one that was not seen for the longest time is forgotten if there are too many.

        Args:
            more: `event`, `where`, `stage`, `path` and `stack`; each may be missing.
        """
        if len(self._faults) >= MOST:
            del self._faults[next(iter(self._faults))]
        fields = {"event": "", "where": "", "stage": "", "path": ()} | more
        stack = str(fields.pop("stack", ""))
        self._faults[cause] = Fault(
            cause=cause,
            what=what[:MAX_WHAT],
            client=client,
            # The innermost calls say most.
            stack=stack if len(stack) <= MAX_STACK else f"…\n{stack[-MAX_STACK:]}",
            count=1,
            first=now,
            last=now,
            **fields,
        )

    def since(self, now: float) -> list[Fault]:
        """Those of the last hour, the latest first."""
        self._faults = {cause: one for cause, one in self._faults.items() if now - one.last < KEPT}
        return list(reversed(self._faults.values()))


def merged(books: list[list[Fault]]) -> list[Fault]:
    """The faults of several processes, where equal causes are one."""
    found: dict[str, Fault] = {}
    for one in (fault for book in books for fault in book):
        known = found.get(one.cause)
        if known is None:
            found[one.cause] = msgspec.structs.replace(one)
            continue
        known.count += one.count
        known.first = min(known.first, one.first)
        if one.last > known.last:
            known.last, known.what, known.client = one.last, one.what, one.client
    return sorted(found.values(), key=lambda one: -one.last)

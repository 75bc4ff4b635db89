"""How a server closes many clients: gradually, because each of them connects again at once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import gevent

from fws.base.close_codes import GOING_AWAY

# Close frames that are sent at once. Closed clients reconnect elsewhere immediately, and one node accepts about a
# thousand of them per second.
SLICE = 100
# Up to this many clients per second are closed without spreading.
RATE = 1000
# Close frames are spread over this part of the drain time. The rest is for closing handshakes and `disconnect`.
SPREAD = 0.5


def dismiss(clients: Sequence[Any], limit: float, reason: str) -> None:
    """Close clients with 1001, spread over a part of the time limit if there are many. Blocks for that time."""
    spread = min(len(clients) / RATE, limit * SPREAD)
    for start in range(0, len(clients), SLICE):
        for client in clients[start : start + SLICE]:
            client.dismiss(GOING_AWAY, reason)
        if start + SLICE < len(clients):
            gevent.sleep(spread * SLICE / len(clients))

r"""The states of a client, and the transitions between them.

                     connect passes
    CONNECTING ------------------------> OPEN
      |    \                              ^ |
      |     \ a filter returns Ask        | | a Close is sent or received, a limit is
      |      `------> CHALLENGED ---------' | exceeded, or TCP ends
      |                   |  a good answer  |
      | connect refuses   |                 v
      |                   `------------> CLOSING
      v                                     |
    CLOSED <--------------------------------'  disconnect

A server that drains dismisses its clients. One that may go on sending until it learns of that is LEAVING in between.
A `connect` filter may close the client as well, so CONNECTING leads to CLOSING too. Whether `connect` has passed, and
`disconnect` has to run, does not follow from the state: a client that is CLOSING may have been CHALLENGED only. Nor do
the reasons for not reading, which `fws.clients.connection` describes.
"""

from __future__ import annotations

import enum


class State(enum.Enum):
    """Where a client is in its life."""

    CONNECTING = "its `connect` pipeline is running, and the 101 has not been sent"
    CHALLENGED = "the 101 has been sent, and its first message decides whether it is admitted"
    OPEN = "its `connect` pipeline has passed"
    LEAVING = "a Close has been sent, and what the peer has sent before it learns of that is still served"
    CLOSING = "a Close has been sent or received, or the connection is being ended: nothing more can be sent"
    CLOSED = "it has left its channels, and what filters deferred has been called"


TRANSITIONS = {
    State.CONNECTING: {State.CHALLENGED, State.OPEN, State.CLOSING, State.CLOSED},
    State.CHALLENGED: {State.OPEN, State.CLOSING},
    State.OPEN: {State.LEAVING, State.CLOSING},
    State.LEAVING: {State.CLOSING, State.CLOSED},
    State.CLOSING: {State.CLOSED},
    State.CLOSED: set(),
}


def can_become(before: State, after: State) -> bool:
    """Return whether a client in one state can get into another."""
    return after in TRANSITIONS[before]

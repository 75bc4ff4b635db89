"""The states of a client."""

from __future__ import annotations

from pathlib import Path

import pytest

from fws import Reject
from fws.clients.state import TRANSITIONS, State, can_become
from tests.support import build

BYE = "from fws import Filter\nclass Bye(Filter):\n    def connect(self, client): client.close(4000)\n"


def test_every_state_has_its_transitions_and_all_but_the_first_can_be_reached() -> None:
    assert set(TRANSITIONS) == set(State)
    assert set().union(*TRANSITIONS.values()) == set(State) - {State.CONNECTING}


def test_no_way_leads_back() -> None:
    order = list(State)
    assert all(order.index(after) > order.index(before) for before in State for after in TRANSITIONS[before])
    assert not can_become(State.CLOSED, State.OPEN)


@pytest.mark.parametrize(
    ("connect", "life"),
    [("join all", State.OPEN), ("token", State.CHALLENGED), ("bye", State.CLOSING)],
)
def test_how_connect_ends_decides_the_state(connect: str, life: State, tmp_path: Path) -> None:
    server = build(
        f'[pipelines]\nconnect = ["{connect}"]\nmessage = ["echo"]',
        tmp_path,
        pipelines={"bye": BYE},
        environ={"FWS_TOKEN": "t" * 32},
    )
    client = server.connect()
    assert (client._life, client.closing) == (life, life is State.CLOSING)
    client.disconnect()
    assert (client._life, client.closing) == (State.CLOSED, True)


def test_a_client_that_connect_refuses_leaves_no_trace(tmp_path: Path) -> None:
    server = build('[pipelines]\nconnect = ["join all", "reject 403"]', tmp_path)
    with pytest.raises(Reject):
        server.connect()
    assert (server.hub.busy, server.hub.channels()) == (0, [])

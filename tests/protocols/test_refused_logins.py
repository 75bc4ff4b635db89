"""How a client of the protocol `centrifuge` learns that its token is not accepted: SDKs decide by it whether they try
again, and with which token.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jwt
import pytest

from fws.clients.client import Client
from tests.support import Harness, build

KEY = "the-key-of-the-tests-of-refusals"
TOML = f"""
[endpoints."/"]
protocol = "centrifuge"
connect = ["jwt HS256 {KEY}", "require identity.role != 'guest'"]
"""


@pytest.fixture
def server(tmp_path: Path) -> Harness:
    return build(TOML, tmp_path)


def token(server: Harness, user: str = "ann", left: float = 600, key: str = KEY, **claims: Any) -> str:
    return jwt.encode({"sub": user, "exp": int(server.wall() + left), **claims}, key, "HS256")


def says(server: Harness, **command: Any) -> Client:
    """A client that has sent its first command."""
    client = server.connect()
    server.client_says(client, json.dumps({"id": 1, **command}))
    return client


def told(server: Harness, client: Client) -> tuple[list[int], int | None]:
    """The codes of the errors that the client was told, and that of its end."""
    replies = [json.loads(text) for text in server.sent(client)]
    end = server.closed(client)
    return [reply["error"]["code"] for reply in replies if "error" in reply], end and end[0]


@pytest.mark.parametrize("given", [{}, {"token": "nonsense"}])
def test_a_client_without_a_valid_token_does_not_try_again(server: Harness, given: dict[str, str]) -> None:
    assert told(server, says(server, connect=given)) == ([], 3500)


def test_a_client_that_may_not_connect_does_not_try_again(server: Harness) -> None:
    assert told(server, says(server, connect={"token": token(server, role="guest")})) == ([], 3507)


def test_a_client_with_an_expired_token_asks_for_another(server: Harness) -> None:
    assert told(server, says(server, connect={"token": token(server, left=-1)})) == ([109], 3005)


@pytest.mark.parametrize(
    ("change", "end"),
    [({}, None), ({"left": -1}, 3005), ({"user": "bob"}, 3500), ({"key": "x" * 32}, 3500), ({"role": "guest"}, 3507)],
)
def test_a_refused_refresh_ends_the_connection(server: Harness, change: dict[str, Any], end: int | None) -> None:
    client = says(server, connect={"token": token(server)})
    server.client_says(client, json.dumps({"id": 2, "refresh": {"token": token(server, **change)}}))
    assert told(server, client) == ([], end)

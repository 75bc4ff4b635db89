from __future__ import annotations

from pathlib import Path

import pytest

from fws.base.errors import ProgramError
from fws.programs.environment import MAX_VALUE, inherited, of_client
from tests.support import build

TOML = """
[endpoints."/rooms/{room}"]
message = ["echo"]
"""
HEADERS = {"Authorization": "Bearer secret", "Cookie": "session=secret", "User-Agent": "Firefox", "X-Tenant": "a"}


def test_of_the_servers_own_environment_little_is_passed_on() -> None:
    environ = {"PATH": "/bin", "LANG": "C", "AWS_SECRET_KEY": "x", "TZ": "UTC"}
    assert inherited(environ, ["TZ", "UNSET"]) == {"PATH": "/bin", "LANG": "C", "TZ": "UTC"}


def test_a_client_is_described_with_the_names_of_cgi(tmp_path: Path) -> None:
    server = build(TOML, tmp_path)
    client = server.connect("/rooms/caf%C3%A9?token=secret", headers=HEADERS, identity={"user": "ann"})
    assert of_client(client, ["x-tenant", "x-missing"], query=False) == {
        "GATEWAY_INTERFACE": "CGI/1.1",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "REQUEST_METHOD": "GET",
        "REMOTE_ADDR": "192.0.2.1",
        "REMOTE_USER": "ann",
        "REQUEST_URI": "/rooms/caf%C3%A9",
        "PATH_INFO": "/rooms/café",
        "QUERY_STRING": "",
        "FWS_CLIENT": client.id,
        "FWS_PATH_ROOM": "café",
        "HTTP_X_TENANT": "a",
    }


def test_credentials_are_passed_on_only_if_they_are_asked_for(tmp_path: Path) -> None:
    client = build(TOML, tmp_path).connect("/rooms/tea?token=secret", headers=HEADERS)
    assert "secret" not in str(of_client(client, ["user-agent"], query=False))
    asked = of_client(client, ["authorization"], query=True)
    assert asked["HTTP_AUTHORIZATION"] == "Bearer secret"
    assert (asked["QUERY_STRING"], asked["REQUEST_URI"]) == ("token=secret", "/rooms/tea?token=secret")


@pytest.mark.parametrize("user", ["a\0b", "x" * (MAX_VALUE + 1)])
def test_what_no_environment_can_hold_is_refused(user: str, tmp_path: Path) -> None:
    client = build(TOML, tmp_path).connect("/rooms/tea", identity={"user": user})
    with pytest.raises(ProgramError, match="REMOTE_USER"):
        of_client(client, [], query=False)

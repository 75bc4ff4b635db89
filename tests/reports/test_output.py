"""Output in any encoding."""

from __future__ import annotations

import pytest
from websockets.sync.client import connect

from tests.integration.conftest import Serve


@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
def test_a_message_is_shown_whatever_the_encoding_of_the_output(serve: Serve, encoding: str) -> None:
    """Fault: a message with a character that the output's encoding lacks was silently not shown.

    https://github.com/python-websockets/websockets/pull/1711 is about a message that could not be shown in a log;
    containers without a locale have such an encoding.
    """
    server = serve('[endpoints."/ws"]\nmessage = ["stdout_messages", "echo"]\n', PYTHONIOENCODING=encoding)
    with connect(server.url("/ws")) as client:
        client.send("party 🎉")
        assert client.recv(10) == "party 🎉"
    server.wait_for(r"--MESSAGE--\nparty \\U0001f389")

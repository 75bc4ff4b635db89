"""A client of the protocol `centrifuge` that wants an error, and not a subscription with a gap: an SDK's `getState`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tests.support import build

TOML = """
[endpoints."/"]
protocol = "centrifuge"

[channels."tea"]
history = 2
subscribe = "client.id != null"
publish = "client.id != null"
"""


def test_a_gap_is_an_error_for_who_asks_for_it(tmp_path: Path) -> None:
    server = build(TOML, tmp_path)
    client = server.connect()

    def says(id: int, **command: Any) -> dict[str, Any]:
        server.client_says(client, json.dumps({"id": id, **command}))
        [reply] = [reply for text in server.sent(client) if (reply := json.loads(text)).get("id") == id]
        return dict(reply)

    says(1, connect={})
    for number in range(4):
        says(2 + number, publish={"channel": "tea", "data": number})
    epoch = says(6, subscribe={"channel": "tea"})["subscribe"]["epoch"]
    says(7, unsubscribe={"channel": "tea"})
    asked = {"channel": "tea", "recover": True, "epoch": epoch}

    assert says(8, subscribe={**asked, "offset": 1})["subscribe"].get("recovered", False) is False
    says(9, unsubscribe={"channel": "tea"})
    assert says(10, subscribe={**asked, "offset": 1, "flag": 2})["error"]["code"] == 112
    assert client.channels == set(), "it is no member any more"
    again = says(11, subscribe={**asked, "offset": 2, "flag": 2})["subscribe"]
    assert (again["recovered"], [pub["data"] for pub in again["publications"]]) == (True, [2, 3])

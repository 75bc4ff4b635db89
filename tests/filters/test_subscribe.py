from __future__ import annotations

from pathlib import Path

import pytest

from fws.base.errors import Reject
from tests.support import build

CONF = """
[endpoints."/events/{channel}"]
connect = ["subscribe {channel}"]
[channels."news:{name}"]
subscribe = "name != 'secret'"
"""


def test_the_path_names_the_channel(tmp_path: Path) -> None:
    server = build(CONF, tmp_path)
    ann = server.connect("/events/news:a")
    assert ann.channels == {"news:a"}
    assert ann.unsubscribe("news:a"), "it is the client's own subscription"


@pytest.mark.parametrize("channel", ["news:secret", "other"])
def test_a_client_that_may_not_have_the_channel_is_refused(tmp_path: Path, channel: str) -> None:
    server = build(CONF, tmp_path)
    with pytest.raises(Reject) as refused:
        server.connect(f"/events/{channel}")
    assert refused.value.status == 403
    assert server.hub.clients == {}

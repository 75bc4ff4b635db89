"""The HTTP API of a real server: with Centrifugo's own client `cent`, with `fws api`, and after a reload."""

from __future__ import annotations

import base64
import json
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cent
import pytest
import requests
from cent.exceptions import CentApiResponseError, CentTransportError, CentUnauthorizedError

from tests.cli.command import fws
from tests.integration.conftest import Running, Serve

pytestmark = pytest.mark.process

KEY = "k" * 32
CONF = """
[admin]
listen = "127.0.0.1:0"
[limits]
exempt = ["127.0.0.1"]
[api]
key = "${API_KEY}"
path = "/api"
[api.keys.shop]
key = "the-key-of-the-shop"
publish = ["orders:*"]
[channels."kept:*"]
history = 100
[channels."seen:*"]
presence = true
[endpoints."/"]
message = ["echo"]
"""


@pytest.fixture
def server(serve: Serve) -> Running:
    return serve(CONF, API_KEY=KEY)


@pytest.fixture
def client(server: Running) -> Iterator[cent.Client]:
    client = cent.Client(f"{server.page}/api", KEY)
    yield client
    client.close()


def test_cent_publishes(client: cent.Client) -> None:
    assert client.publish(cent.PublishRequest(channel="news", data={"text": "hi"})).offset == 0
    published = client.publish(cent.PublishRequest(channel="kept:a", data=1, idempotency_key="once"))
    assert published == client.publish(cent.PublishRequest(channel="kept:a", data=1, idempotency_key="once"))
    assert (published.offset, bool(published.epoch)) == (1, True)
    binary = base64.b64encode(b"\0\1").decode()
    assert client.publish(cent.PublishRequest(channel="kept:a", data=None, b64data=binary)).offset == 2
    assert client.publish(cent.PublishRequest(channel="kept:a", data=1, skip_history=True)).offset == 0
    responses = client.broadcast(cent.BroadcastRequest(channels=["news", "kept:b"], data="x")).responses
    assert [response.result.offset for response in responses if response.result] == [0, 1]


def test_cent_reads(client: cent.Client) -> None:
    for number in range(1, 4):
        client.publish(cent.PublishRequest(channel="kept:a", data={"n": number}))
    page = client.history(cent.HistoryRequest(channel="kept:a", limit=2))
    assert [(one.offset, one.data) for one in page.publications] == [(1, {"n": 1}), (2, {"n": 2})]
    assert page.offset == 3
    since = cent.StreamPosition(offset=2, epoch=page.epoch)
    rest = client.history(cent.HistoryRequest(channel="kept:a", limit=-1, since=since))
    assert [one.data for one in rest.publications] == [{"n": 3}]
    newest = client.history(cent.HistoryRequest(channel="kept:a", limit=1, reverse=True))
    assert [one.data for one in newest.publications] == [{"n": 3}]
    client.history_remove(cent.HistoryRemoveRequest(channel="kept:a"))
    assert client.history(cent.HistoryRequest(channel="kept:a", limit=-1)).publications == []
    assert isinstance(client.presence(cent.PresenceRequest(channel="seen:a")).presence, dict)
    assert client.presence_stats(cent.PresenceStatsRequest(channel="seen:a")).num_clients >= 0
    assert isinstance(client.channels(cent.ChannelsRequest(pattern="*")).channels, dict)
    assert len(client.info(cent.InfoRequest()).nodes) == 1


def test_cent_rules_users(client: cent.Client) -> None:
    client.subscribe(cent.SubscribeRequest(user="ann", channel="news"))
    client.unsubscribe(cent.UnsubscribeRequest(user="ann", channel="news"))
    disconnect = cent.Disconnect(code=4000, reason="bye")
    client.disconnect(cent.DisconnectRequest(user="ann", whitelist=["x"], disconnect=disconnect))
    client.refresh(cent.RefreshRequest(user="ann", expire_at=int(time.time()) + 60))


def test_cent_sends_a_batch(client: cent.Client) -> None:
    wanted = [
        cent.PublishRequest(channel="kept:a", data=1),
        cent.PublishRequest(channel="kept:a", data=2),
        cent.HistoryRequest(channel="kept:a", limit=-1),
    ]
    first, second, page = client.batch(cent.BatchRequest(requests=wanted)).replies
    assert (first.offset, second.offset, len(page.publications)) == (1, 2, 2)  # type: ignore[attr-defined]
    assert len(client.batch(cent.BatchRequest(requests=wanted[:2], parallel=True)).replies) == 2


def test_cent_raises_for_errors(client: cent.Client, server: Running) -> None:
    with pytest.raises(CentApiResponseError) as caught:
        client.presence(cent.PresenceRequest(channel="news"))
    assert caught.value.code == 108
    with pytest.raises(CentApiResponseError) as caught:
        client.publish(cent.PublishRequest(channel="news", data=1, tags={"a": "b"}))
    assert (caught.value.code, caught.value.message) == (107, "'tags' is not supported: leave it out")
    wrong = cent.Client(f"{server.page}/api", "an-open-secret")
    with pytest.raises(CentUnauthorizedError):
        wrong.publish(cent.PublishRequest(channel="news", data=1))
    wrong.close()
    shop = cent.Client(f"{server.page}/api", "the-key-of-the-shop")
    shop.publish(cent.PublishRequest(channel="orders:7", data=1))
    with pytest.raises(CentTransportError) as refused:
        shop.publish(cent.PublishRequest(channel="news", data=1))
    assert refused.value.status_code == 403
    shop.close()
    server.wait_for("401 The API key is wrong")
    server.wait_for("The key shop may not publish to 'news'")
    assert "open-secret" not in server.output
    assert KEY not in server.output


def test_curl_with_a_large_body_waits_for_a_continue(server: Running) -> None:
    curl = shutil.which("curl")
    if curl is None:
        pytest.skip("there is no curl here")
    body = json.dumps({"channel": "news", "data": "x" * 1_000_000})
    command = [curl, "-sS", "-m", "10", "-H", f"X-API-Key: {KEY}", "--data-binary", "@-", f"{server.page}/api/publish"]
    for more in ([], ["-H", "Expect: 100-continue"]):
        done = subprocess.run(
            [*command, *more],
            input=body, capture_output=True, text=True,
        )  # fmt: skip
        assert (done.stdout, done.stderr) == ('{"result":{}}', "")


def test_the_api_is_at_the_second_address_too(server: Running) -> None:
    port = server.wait_for(r"admin +http://127\.0\.0\.1:(\d+)")[1]
    answer = requests.post(f"http://127.0.0.1:{port}/api/info", headers={"X-API-Key": KEY}, json={}, timeout=10)
    assert answer.json()["result"]["nodes"]


def test_fws_api_takes_the_address_and_the_key_from_the_file(serve: Serve, tmp_path: Path) -> None:
    conf = CONF.replace("127.0.0.1:0", f"unix:{tmp_path / 'admin'}")
    serve(conf, API_KEY=KEY)

    def api(*arguments: str) -> tuple[int, Any]:
        done = fws("api", *arguments, "--conf", "conf/test.toml", cwd=tmp_path, API_KEY=KEY)
        assert "Traceback" not in done.stderr
        return done.returncode, json.loads(done.stdout) if done.stdout else done.stderr.strip()

    status, result = api("publish", "kept:a", '{"text": "hi"}')
    assert (status, result["offset"]) == (0, 1)
    assert api("publish", "kept:a", "just text", "--idempotency-key", "x")[1]["offset"] == 2
    assert api("publish", "kept:a", "--b64data", "AAE=")[1]["offset"] == 3
    since = json.dumps({"offset": 1, "epoch": result["epoch"]})
    page = api("history", "kept:a", "--limit", "-1", "--since", since)[1]["publications"]
    assert [(one["offset"], one["data"], one.get("b64data")) for one in page] == [
        (2, "just text", None),
        (3, None, "AAE="),
    ]
    assert len(api("broadcast", "kept:a", "news", "1")[1]["responses"]) == 2
    assert api("disconnect", "ann", "--whitelist", "a", "--whitelist", "b") == (0, {})
    assert api("batch", '[{"info": {}}, {"nothing": {}}]')[1][1]["error"]["code"] == 104
    assert api("presence", "news") == (1, "fws: 108 the channel has no presence")
    assert api("publish", "a*", "x")[1].startswith("fws: 107 channel: the name of a channel")


def test_fws_api_takes_the_address_and_the_key_from_the_environment(server: Running, tmp_path: Path) -> None:
    url = f"{server.page}/api"
    done = fws("api", "publish", "news", "x", cwd=tmp_path, FWS_API_URL=url, FWS_API_KEY=KEY)
    assert (done.returncode, done.stdout) == (0, "{}\n")
    done = fws("api", "info", cwd=tmp_path, FWS_API_URL=url, FWS_API_KEY="wrong")
    assert (done.returncode, done.stderr) == (1, "fws: 401 The API key is wrong.\n")
    done = fws("api", "info", cwd=tmp_path, FWS_API_URL="http://127.0.0.1:1/api", FWS_API_KEY=KEY)
    assert done.returncode == 69
    assert "cannot be reached: Connection refused" in done.stderr
    done = fws("api", "info", cwd=tmp_path, FWS_API_URL="localhost:1", FWS_API_KEY=KEY)
    assert (done.returncode, "is not a URL" in done.stderr) == (2, True)
    done = fws("api", "info", cwd=tmp_path)
    assert (done.returncode, "say which server" in done.stderr) == (2, True)


def test_a_reload_changes_the_keys(serve: Serve, tmp_path: Path) -> None:
    server = serve(CONF, API_KEY=KEY, XDG_RUNTIME_DIR=str(tmp_path))

    def status(key: str) -> int:
        headers = {"X-API-Key": key}
        return requests.post(f"{server.page}/api/info", headers=headers, json={}, timeout=10).status_code

    assert status("another-key-for-all") == 401
    conf = tmp_path / "conf" / "test.toml"
    further = '[api.keys.page]\nkey = "another-key-for-all"\nread = true\n'
    conf.write_text(CONF.replace("[channels", f"{further}[channels", 1))
    server.signal(1)  # SIGHUP
    until = time.monotonic() + 10
    while status("another-key-for-all") != 200:
        assert time.monotonic() < until
        time.sleep(0.1)
    assert "another-key" not in server.output

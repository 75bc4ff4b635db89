"""The API over HTTP: keys, statuses, paths, and that nothing is read of a body without a key."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from wsgiref.validate import validator

import pytest
from werkzeug.test import Client, TestResponse

from fws.compiler.compile import load_generation
from fws.pipeline.services import Services
from fws.server.apis import Apis
from fws.server.node import Node
from fws.server.web import Web
from tests.api.fake import FakeCommands, FakeOperator
from tests.server.served import Served, everything, get

KEY = "k" * 32
TOML = f"""
[limits]
max_message = "2KiB"
exempt = []
failed_logins = "3/min"
[api]
key = "{KEY}"
path = "/v1/api"
[api.keys.shop]
key = "{"s" * 32}"
publish = ["orders:*"]
[pipelines]
message = ["echo"]
"""


class Site:
    """A node's plain HTTP, with commands in memory, as a WSGI application."""

    def __init__(self, folder: Path, toml: str = TOML) -> None:
        (folder / "api.toml").write_text(toml)
        self.node = Node(load_generation(folder / "api.toml", Services(), {}))
        self.commands = FakeCommands()
        self.operator = FakeOperator()
        self.apis = Apis(self.node, self.commands, self.operator)
        self.web = Web(
            static=None, health=lambda: {"status": "ok"}, is_endpoint=lambda path: True, api=self.apis.public
        )

    def post(self, path: str, body: Any = None, key: str | None = KEY, **headers: str) -> TestResponse:
        data = body if isinstance(body, bytes) else json.dumps({} if body is None else body).encode()
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        given = {"X-API-Key": key} if key is not None else {}
        environ = {"REMOTE_ADDR": "192.0.2.1"}
        return Client(validator(self.web)).post(
            path, data=data, headers={**given, **named}, environ_overrides=environ, buffered=True
        )


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path)


def test_a_call(site: Site) -> None:
    response = site.post("/v1/api/publish", {"channel": "kept:a", "data": {"x": 1}})
    assert (response.status_code, response.mimetype) == (200, "application/json")
    assert response.json == {"result": {"offset": 1, "epoch": "e1"}}
    assert site.commands.asked == [("publish", "kept:a", {"x": 1})]


@pytest.mark.parametrize("value", [f"apikey {KEY}", f"ApiKey  {KEY} "])
def test_the_key_in_the_other_header(site: Site, value: str) -> None:
    assert site.post("/v1/api/info", key=None, Authorization=value).status_code == 200


@pytest.mark.parametrize(
    ("key", "authorization", "reason"),
    [
        (None, None, "The API needs a key"),
        ("", None, "The API needs a key"),
        (None, f"Bearer {KEY}", "The API needs a key"),
        (None, KEY, "The API needs a key"),
        ("wrong", None, "The API key is wrong."),
        (KEY[:-1], None, "The API key is wrong."),
        (KEY + "k", None, "The API key is wrong."),
        ("wrong", f"apikey {KEY}", "The API key is wrong."),
        ("\xff\xfe", None, "The API key is wrong."),
    ],
)
def test_without_the_right_key(site: Site, key: str | None, authorization: str | None, reason: str) -> None:
    more = {} if authorization is None else {"Authorization": authorization}
    response = site.post("/v1/api/publish", {"channel": "a", "data": 1}, key, **more)
    assert response.status_code == 401
    assert response.headers["WWW-Authenticate"] == "apikey"
    assert response.text.startswith(reason)
    assert site.commands.asked == []
    assert site.node.context.metrics["failed_logins"] == 1
    assert site.node.context.metrics["refused_401"] == 1


def test_wrong_keys_of_one_address_are_limited(site: Site) -> None:
    assert [site.post("/v1/api/info", key="wrong").status_code for _ in range(5)] == [401] * 3 + [429] * 2
    assert site.post("/v1/api/info").status_code == 429


def test_what_a_key_does_not_permit(site: Site) -> None:
    shop = "s" * 32
    assert site.post("/v1/api/publish", {"channel": "orders:7", "data": 1}, shop).status_code == 200
    response = site.post("/v1/api/publish", {"channel": "news", "data": 1}, shop)
    assert (response.status_code, response.text) == (403, "The key shop may not publish to 'news'.\n")
    response = site.post("/v1/api/disconnect", {"user": "ann"}, shop)
    assert (response.status_code, response.text) == (403, "The key shop does not permit disconnect.\n")


def test_an_error_has_the_status_200_unless_the_caller_asks_for_another(site: Site) -> None:
    path, body = "/v1/api/presence", {"channel": "news"}
    error = {"code": 108, "message": "not available"}
    response = site.post(path, body)
    assert (response.status_code, response.json) == (200, {"error": error})
    response = site.post(path, body, X_Centrifugo_Error_Mode="transport")
    assert (response.status_code, response.json) == (400, error)
    for channel, status in (("broken:x", 500), ("a*", 400)):
        request = {"channel": channel, "data": 1}
        assert site.post("/v1/api/publish", request, X_Centrifugo_Error_Mode="transport").status_code == status


def test_a_body_that_is_not_json(site: Site) -> None:
    response = site.post("/v1/api/publish", b"{")
    assert (response.status_code, response.json) == (400, {"error": {"code": 107, "message": "this is not JSON"}})


@pytest.mark.parametrize(
    ("path", "status", "text"),
    [
        ("/v1/api/publsh", 404, "did you mean 'publish'?"),
        ("/v1/api/publish/", 404, "has no method"),
        ("/v1/api/", 400, "expected 1 to 1000 commands"),
        ("/v1/api/openapi.json", 200, '"openapi":"3.1.0"'),
        ("/v1/apis/publish", 405, "Only GET and HEAD"),
        ("/v1", 405, "Only GET and HEAD"),
    ],
)
def test_paths(site: Site, path: str, status: int, text: str) -> None:
    response = site.post(path, b"")
    assert response.status_code == status
    assert text in response.text


def test_the_description_needs_a_key_and_methods_need_post(site: Site) -> None:
    browser = Client(validator(site.web))
    headers = {"X-API-Key": KEY}
    assert browser.get("/v1/api/openapi.json", buffered=True).status_code == 401
    response = browser.get("/v1/api/openapi.json", headers=headers, buffered=True)
    assert response.json is not None
    assert response.json["servers"] == [{"url": "/v1/api"}]
    response = browser.get("/v1/api/info", headers=headers, buffered=True)
    assert (response.status_code, response.headers["Allow"]) == (405, "POST")


def test_without_the_section_there_is_nothing(tmp_path: Path) -> None:
    site = Site(tmp_path, '[pipelines]\nmessage = ["echo"]')
    for api in (site.apis.public, site.apis.admin):
        assert api.takes("/api/publish") is None
        assert not api.has("/api/publish")
        assert not api.has("")
    assert site.post("/api/publish").status_code == 405


def test_a_reload_changes_keys_and_path(site: Site, tmp_path: Path) -> None:
    (tmp_path / "api.toml").write_text(TOML.replace(KEY, "new" * 10).replace("/v1/api", "/v2"))
    site.apis.configure(load_generation(tmp_path / "api.toml", Services(), {}).config)
    assert site.post("/v2/info").status_code == 401
    assert site.post("/v2/info", key="new" * 10).status_code == 200
    assert site.post("/v1/api/info", key="new" * 10).status_code == 405


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    served = Served(TOML, tmp_path)
    commands = FakeCommands()
    apis = Apis(served.node, commands, FakeOperator())
    served.listener.application = Web(
        static=None, health=lambda: {"status": "ok"}, is_endpoint=lambda path: True, api=apis.public
    )
    yield served
    served.stop()


def call(name: str, body: bytes, *lines: str) -> bytes:
    return get(f"/v1/api/{name}", f"Content-Length: {len(body)}", *lines, method="POST") + body


def test_a_body_is_not_read_without_a_key(served: Served, caplog: pytest.LogCaptureFixture) -> None:
    """The answer comes before the body, so that nobody can make the server wait for one and hold it."""
    caplog.set_level(logging.DEBUG)
    with served.connect() as sock:
        sock.sendall(get("/v1/api/publish", "Content-Length: 2000", "X-API-Key: an-open-secret", method="POST"))
        received = sock.recv(4096)
    assert received.startswith(b"HTTP/1.1 401 ")
    assert "refused 127.0.0.1: 401 The API key is wrong. (POST /v1/api/publish HTTP/1.1)" in caplog.text
    assert "open-secret" not in caplog.text
    assert served.node.context.metrics["failed_logins"] == 1


def test_calls_share_a_connection(served: Served) -> None:
    """The key is checked before the body and again for the call, which counts no failure."""
    key = f"X-API-Key: {KEY}"
    with served.connect() as sock:
        sock.sendall(call("info", b"{}", key) * 20 + call("info", b"", key, "Connection: close"))
        received = everything(sock)
    assert received.count(b"HTTP/1.1 200 OK") == 21


def test_a_body_above_max_message(served: Served) -> None:
    received = served.ask(call("publish", b"x" * 2049, f"X-API-Key: {KEY}"))
    assert received.startswith(b"HTTP/1.1 413 ")
    assert b"larger than 2048 bytes" in received

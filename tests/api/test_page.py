"""The page for operators as a WSGI application. tests/integration/test_admin_page.py has it in a browser."""

from __future__ import annotations

import contextlib
import re
from pathlib import Path
from typing import Any

import pytest
from werkzeug.test import Client, TestResponse

from fws.base.errors import Refusal
from fws.compiler.compile import load_generation
from fws.pipeline.services import Services
from fws.server.apis import Apis
from fws.server.node import Node
from fws.server.page import POLICY
from fws.server.web import Web
from fws.wire.head import HeadReader
from tests.api.fake import FakeCommands, FakeOperator

KEY, VIEWER, SHOP = "k" * 32, "v" * 32, "s" * 32
TOML = f"""
[limits]
exempt = []
failed_logins = "3/min"
[api]
key = "{KEY}"
path = "/v1/api"
[api.keys.viewer]
key = "{VIEWER}"
read = true
[api.keys.shop]
key = "{SHOP}"
publish = ["orders:*"]
[pipelines]
message = ["echo"]
"""


class Site:
    """The plain HTTP of [admin] and of the public port, with one browser for both."""

    def __init__(self, folder: Path, toml: str = TOML) -> None:
        self.folder = folder
        self.node = Node(self.generation(toml))
        self.operator = FakeOperator()
        self.apis = Apis(self.node, FakeCommands(), self.operator)
        health: dict[str, Any] = {"health": lambda: {"status": "ok"}, "is_endpoint": lambda path: False}
        self.admin = Client(Web(static=None, api=self.apis.admin, page=self.apis.page, **health))
        self.public = Client(Web(static=None, api=self.apis.public, **health))

    def generation(self, toml: str) -> Any:
        (self.folder / "a.toml").write_text(toml)
        return load_generation(self.folder / "a.toml", Services(), {})

    def post(self, path: str, body: Any, **headers: str) -> TestResponse:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return self.admin.post(
            path,
            json=body,
            base_url="http://localhost:9100",
            headers={"Origin": "http://localhost:9100"} | named,
            environ_overrides={"REMOTE_ADDR": "192.0.2.1"},
        )

    def call(self, method: str, body: Any = None, **headers: str) -> TestResponse:
        return self.post(f"/v1/api/{method}", body or {}, **headers)


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path)


def test_the_files(site: Site) -> None:
    for path, kind in {"/": "text/html", "/page.css": "text/css", "/page.js": "text/javascript"}.items():
        response = site.admin.get(path)
        assert (response.status_code, response.content_type) == (200, f"{kind}; charset=utf-8")
        assert response.headers["Content-Security-Policy"] == POLICY
        assert response.headers["X-Content-Type-Options"] == "nosniff"
        assert response.headers["Referrer-Policy"] == "no-referrer"
        assert response.headers["Cache-Control"] == "no-store"
        # On the public port there is nothing.
        assert site.public.get(path).status_code == 404
    assert 'data-api="/v1/api"' in site.admin.get("/").text
    assert site.admin.get("/page.py").status_code == 404
    assert site.admin.get("/login").status_code == 405


def test_nothing_is_inline_or_comes_from_elsewhere(site: Site) -> None:
    page, style, script = (site.admin.get(path).text for path in ("/", "/page.css", "/page.js"))
    assert not re.search(r"<style|\son\w+=|\sstyle=|javascript:|<script(?! src=\"page\.js\" defer></script>)", page)
    for text in (page.replace("http://www.w3.org/2000/svg", ""), style, script):
        assert not re.search(r"https?:|url\(|@import|//\w+\.\w", text)
    # Text from clients never becomes markup, and the key is kept nowhere.
    assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\b|DOMParser", script)
    assert not re.search(r"localStorage|sessionStorage", script)


def test_a_key_gives_a_session_and_the_session_is_a_key(site: Site) -> None:
    assert site.call("key").status_code == 401
    assert site.post("/session", {}).json is False
    response = site.post("/login", {"key": VIEWER})
    assert response.status_code == 200
    cookie = response.headers["Set-Cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=Strict" in cookie
    assert VIEWER not in cookie
    assert site.post("/session", {}).json is True
    answer = site.call("key").json
    assert answer is not None
    assert answer["result"]["name"] == "viewer"
    assert {"stages", "nodes"} <= set(answer["result"]["methods"])
    assert not {"clients", "ban", "reload", "tap", "disconnect", "publish"} & set(answer["result"]["methods"])
    assert site.call("stages").status_code == 200
    assert site.call("clients").status_code == 403
    # The public port takes keys only.
    site.public.set_cookie("fws_admin_9100", cookie.partition("=")[2].partition(";")[0])
    assert site.public.post("/v1/api/stages", json={}, base_url="http://localhost:9100").status_code == 401
    assert site.post("/logout", {}).status_code == 200
    assert site.post("/session", {}).json is False
    assert site.call("stages").status_code == 401


def test_a_session_ends_when_its_key_is_removed(site: Site) -> None:
    site.post("/login", {"key": VIEWER})
    assert site.call("stages").status_code == 200
    site.apis.configure(site.generation(TOML.replace(VIEWER, "w" * 32)).config)
    response = site.call("stages")
    assert (response.status_code, response.text) == (401, "The session has ended: log in again.\n")
    # This is no failed login, so that an open page does not lock its operator out.
    assert site.node.context.metrics["failed_logins"] == 0


def test_wrong_keys_are_limited_and_those_who_are_in_stay_in(site: Site) -> None:
    site.post("/login", {"key": KEY})
    responses = [site.post("/login", {"key": "wrong"}) for _ in range(5)]
    assert [one.status_code for one in responses] == [401] * 3 + [429] * 2
    assert responses[0].text == "The API key is wrong.\n"
    assert "Set-Cookie" not in responses[0].headers
    assert site.post("/login", {"key": KEY}).status_code == 429
    assert site.node.context.metrics["failed_logins"] == 3
    assert site.call("stages").status_code == 200


def test_whoever_is_in_can_open_the_page_again_while_others_have_to_wait(site: Site) -> None:
    """`/session` and `/logout` were refused with 429 as well, so that the page asked for the key, which was refused."""
    for _ in range(4):
        site.post("/login", {"key": "wrong"})
    lines = "Host: a\r\nContent-Type: application/json\r\nSec-Fetch-Site: same-origin\r\nContent-Length: 2\r\n\r\n"
    for path, refused in {"/login": True, "/session": False, "/logout": False}.items():
        takes = site.apis.page.takes(path)
        assert takes is not None
        assert takes.check is not None
        head = HeadReader(taking=site.apis.page.takes).feed(f"POST {path} HTTP/1.1\r\n{lines}".encode())
        assert head is not None
        with pytest.raises(Refusal) if refused else contextlib.nullcontext():
            takes.check(head, "192.0.2.1")


def test_a_key_that_permits_no_view(site: Site) -> None:
    response = site.post("/login", {"key": SHOP})
    assert (response.status_code, response.text) == (403, "The key shop permits no view: it needs read or admin.\n")


@pytest.mark.parametrize("body", [[], {}, {"key": 7}, {"key": "x", "more": 1}, "key"])
def test_a_login_that_is_none(site: Site, body: Any) -> None:
    assert site.post("/login", body).status_code == 400
    assert site.node.context.metrics["failed_logins"] == 0


def test_other_pages_can_neither_log_in_nor_call(site: Site) -> None:
    evil = {"Origin": "http://evil.example"}
    assert site.post("/login", {"key": KEY}, **evil).status_code == 403
    site.post("/login", {"key": KEY})
    assert site.call("ban", {"kind": "user", "name": "ann"}, **evil).status_code == 403
    assert site.call("ban", {"kind": "user", "name": "ann"}, Sec_Fetch_Site="cross-site").status_code == 403
    assert site.post("/logout", {}, **evil).status_code == 403
    form = site.admin.post("/v1/api/reload", data="{}", base_url="http://localhost:9100", content_type="text/plain")
    assert form.status_code == 403
    assert site.admin.get("/v1/api/openapi.json", base_url="http://localhost:9100").status_code == 403
    assert site.operator.asked == []
    # A key in a header needs no origin: no browser sends it by itself.
    api = site.admin.post("/v1/api/reload", data="{}", headers={"X-API-Key": KEY})
    assert api.status_code == 200


def test_a_tap_is_a_stream_that_ends_with_its_reader(site: Site) -> None:
    site.post("/login", {"key": KEY})
    response = site.call("tap", {"stage": "message/echo"})
    assert response.mimetype == "text/event-stream"
    events = response.iter_encoded()
    assert next(iter(events)) == b'data: {"tapping":1,"generation":1}\n\n'
    assert site.operator.tapped
    response.close()
    assert not site.operator.tapped
    answer = site.call("tap", {"stage": "broken"}).json
    assert answer == {"error": {"code": 108, "message": "there are 10 taps already"}}


def test_a_tap_ends_when_its_key_is_removed(site: Site) -> None:
    """It showed everybody's messages for as long as its reader liked, although the stolen key had been changed."""
    events = iter(site.call("tap", {}, X_API_Key=KEY).response)
    assert next(events) == b'data: {"tapping":1,"generation":1}\n\n'
    site.apis.configure(site.generation(TOML.replace("exempt = []", "")).config)
    assert next(events) == b": nothing has passed\n\n"
    site.apis.configure(site.generation(TOML.replace(KEY, "n" * 32)).config)
    error = b'{"code":108,"message":"the key does not permit this any more"}'
    assert list(events) == [b"event: error\ndata: " + error + b"\n\n"]
    assert not site.operator.tapped


def test_without_a_key_there_is_no_page(tmp_path: Path) -> None:
    site = Site(tmp_path, '[pipelines]\nmessage = ["echo"]')
    assert site.admin.get("/").status_code == 404
    assert site.post("/login", {"key": ""}).status_code == 405

"""The page for operators of a real server: its API with workers and Redis, and the page itself in Chromium."""

from __future__ import annotations

import contextlib
import json
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import quote

import pytest
import requests
from playwright.sync_api import Browser, Page, expect, sync_playwright
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

from tests.cli.command import environment, fws
from tests.integration.conftest import Running, Serve, launcher
from tests.integration.redis_server import RedisServer, free_port
from tests.integration.test_page import ARGUMENTS, CHROMIUM

pytestmark = pytest.mark.process

KEY, VIEWER = "k" * 32, "v" * 32
CONF = """
[admin]
listen = "127.0.0.1:0"
[api]
key = "KEY"
[api.keys.viewer]
key = "VIEWER"
read = true
[redis]
url = "${REDIS_URL:-}"
[limits]
exempt = ["127.0.0.1"]
[chains]
guard = ["rate_limit 100/s", "json"]
[channels."room:*"]
history = 5
presence = true
[endpoints."/chat/{room}"]
origins = ["*"]
connect = ["ban", "token eve:eeeeeeeeeeee ann:aaaaaaaaaaaa from=query", "named", "ban", "join room:{room}"]
message = ["guard", "by_type"]
[filters.by_type]
use = "switch"
key = "type"
default = ["drop"]
[filters.by_type.case]
say = ["publish room:{room}"]
fail = ["shaky"]
""".replace("KEY", KEY).replace("VIEWER", VIEWER)
# Ann's real name is what a hostile client would choose.
HOSTILE = "<img src=x onerror=alert(1)><b>ann</b>"
PIPELINES = {
    "shaky": "from fws import Filter\nclass Shaky(Filter):\n def message(self, client, message):\n  1 / 0\n",
    "named": (
        "from fws import Filter\nclass Named(Filter):\n"
        f" def connect(self, client):\n  if client.user == 'ann':\n   client.identity = {{'user': {HOSTILE!r}}}\n"
    ),
}


class Site:
    """A server with [admin], as back ends and operators see it."""

    def __init__(self, server: Running) -> None:
        self.server = server
        self.port = int(server.wait_for(r"admin +http://127\.0\.0\.1:(\d+)")[1])
        self.url = f"http://127.0.0.1:{self.port}"
        self._clients = contextlib.ExitStack()

    def call(self, method: str, key: str = KEY, **request: Any) -> Any:
        headers = {"X-API-Key": key}
        answer = requests.post(f"{self.url}/api/{method}", headers=headers, json=request, timeout=20).json()
        return answer.get("result", answer)

    def client(self, token: str = "eeeeeeeeeeee", room: str = "tea") -> ClientConnection:
        url = self.server.url(f"/chat/{quote(room, safe='')}?token={token}")
        return self._clients.enter_context(connect(url, proxy=None, ping_interval=None))

    def close(self) -> None:
        self._clients.close()


def until(condition: Callable[[], Any], seconds: float = 10) -> Any:
    """Wait until something is true, and return it."""
    end = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < end
        time.sleep(0.05)
    return found


def fails(client: ClientConnection) -> int:
    """Wait for the end of a connection. Returns its close code."""
    try:
        while True:
            client.recv(timeout=10)
    except ConnectionClosed as closed:
        assert closed.rcvd is not None
        return closed.rcvd.code


def boxes(stages: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    found = {}
    for stage in stages:
        found[stage["stage"]] = stage
        for branch in stage["branches"]:
            found |= boxes(branch["stages"])
    return found


def test_the_api_shows_and_rules_all_workers(serve: Serve, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Whichever worker is asked, the answer is that of the node. A cookie of one is good for the others."""
    redis = RedisServer(tmp_path_factory.mktemp("redis"))
    server = serve(CONF, "--workers", "2", pipelines=PIPELINES, REDIS_URL=redis.url)
    site = Site(server)
    try:
        server.wait_for("worker 1 .* serves")
        server.wait_for("worker 2 .* serves")
        clients = [site.client(room="tea") for _ in range(12)]
        found = site.call("clients", user="eve", limit=7)
        assert (found["total"], len(found["clients"])) == (12, 7)
        rest = site.call("clients", user="eve", limit=7, offset=7)["clients"]
        ids = [one["client"] for one in found["clients"] + rest]
        assert (ids, len(set(ids))) == (sorted(ids), 12)
        assert {one["worker"] for one in found["clients"] + rest} == {1, 2}
        assert site.call("clients", channel="room:tea", limit=0)["total"] == 12
        assert site.call("clients", channel="room:te", limit=0)["total"] == 0
        assert site.call("clients", address="127.", path="/chat/t", client=ids[0][:6])["clients"][0]["client"] == ids[0]

        for client in clients:
            client.send('{"type":"fail"}')
        (fault,) = until(lambda: [one for one in site.call("faults")["faults"] if one["count"] == 12])
        assert (fault["what"], fault["event"]) == ("ZeroDivisionError: division by zero", "message")
        assert fault["stage"] == "/chat/{room} message by_type/case.fail/shaky"
        assert re.fullmatch(r"test\.toml:\d+", fault["place"])
        assert "shaky.py" in fault["stack"]

        headers, request = {"X-API-Key": KEY}, {"stage": "message/guard/json"}
        answer = requests.post(f"{site.url}/api/tap", headers=headers, json=request, stream=True, timeout=20)
        with answer:
            lines = (line for line in answer.iter_lines() if line.startswith(b"data: "))
            workers = {json.loads(next(lines)[6:])["tapping"] for _ in range(2)}
            assert workers == {1}
            for client in clients:
                client.send('{"type":"other","password":"an-open-secret"}')
            passed = [json.loads(next(lines)[6:]) for _ in clients]
        assert {one["worker"] for one in passed} == {1, 2}
        assert {one["in"] for one in passed} == {'{"type":"other","password":"***"}'}

        stages = site.call("stages", key=VIEWER, seconds=0.1)
        drawn = {(one["path"], one["event"]): boxes(one["stages"]) for one in stages["pipelines"]}
        assert drawn["/chat/{room}", "message"].keys() >= {"message/guard/json", "message/by_type/case.say/publish"}
        assert (stages["workers"], stages["clients"]) == (2, 12)

        nodes = site.call("nodes", key=VIEWER)
        assert (nodes["redis"], [one["worker"] for one in nodes["workers"]]) == ("ok", [1, 2])
        assert sum(one["clients"] for one in nodes["workers"]) == 12
        assert len(nodes["nodes"]) == 2

        (server_conf,) = [site.call("generation")["file"]]
        with open(server_conf, "a") as conf:
            conf.write('[endpoints."/new"]\nmessage = ["echo"]\n')
        assert site.call("reload", dry_run=True)["status"] == "possible"
        assert site.call("generation")["last"] is None
        assert site.call("reload")["status"] == "done"
        for _ in range(8):  # any worker
            generation = site.call("generation", key=VIEWER)
            assert (generation["generation"], generation["last"]["status"]) == (2, "done")
            assert any("/new" in line for line in generation["last"]["lines"])

        assert site.call("bans") == {"bans": []}
        site.call("ban", kind="user", name="eve", seconds=600)
        assert {fails(client) for client in clients} == {4403}
        assert site.call("bans")["bans"][0]["name"] == "eve"
        assert site.call("unban", kind="user", name="eve") == {"found": True}
        site.client()

        session = requests.Session()
        origin = {"Origin": site.url}
        assert session.post(f"{site.url}/login", json={"key": VIEWER}, headers=origin, timeout=10).status_code == 200
        for _ in range(8):  # each on a connection of its own, which any worker may have
            headers = {**origin, "Connection": "close"}
            answer = session.post(f"{site.url}/api/nodes", json={}, headers=headers, timeout=10)
            assert "result" in answer.json()
        with open(server_conf) as conf:
            changed = conf.read().replace(VIEWER, "w" * 32)
        with open(server_conf, "w") as conf:
            conf.write(changed)
        assert site.call("reload")["status"] == "done"
        for _ in range(8):
            headers = {**origin, "Connection": "close"}
            assert session.post(f"{site.url}/api/nodes", json={}, headers=headers, timeout=10).status_code == 401

        redis.kill()
        until(lambda: site.call("nodes")["redis"] != "ok")
        assert KEY not in server.output
        assert "open-secret" not in server.output
    finally:
        site.close()
        redis.kill()


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield chromium
        chromium.close()


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with launcher(tmp_path_factory.mktemp("page"), None) as serve:
        site = Site(serve(CONF, pipelines=PIPELINES))
        yield site
        site.close()


class Tab:
    """A tab of a browser that has nothing of other tabs.

    Attributes:
        page: what it shows.
        problems: what the page has complained about, violations of its policy included.
    """

    def __init__(self, browser: Browser, site: Site, width: int = 1200, scheme: Any = "light") -> None:
        self._context = browser.new_context(viewport={"width": width, "height": 844}, color_scheme=scheme)
        self.page: Page = self._context.new_page()
        self.page.set_default_timeout(10_000)
        self.problems: list[str] = []
        self.page.on("pageerror", lambda error: self.problems.append(str(error)))
        self.page.on("console", lambda line: self.problems.append(line.text) if line.type == "error" else None)
        self.page.on("dialog", lambda dialog: self.problems.append(dialog.message))
        self.page.goto(f"{site.url}/")

    def login(self, key: str = KEY) -> Page:
        self.page.fill("#key", key)
        self.page.press("#key", "Enter")
        expect(self.page.locator("#state")).to_have_attribute("data-state", "live")
        return self.page

    def view(self, name: str) -> None:
        self.page.click(f'nav a[href="#{name}"]')
        expect(self.page.locator(f'nav a[href="#{name}"]')).to_have_attribute("aria-current", "page")

    def overflow(self) -> int:
        """By how many pixels the page is wider than the window."""
        return int(self.page.evaluate("document.documentElement.scrollWidth - innerWidth"))

    def close(self) -> None:
        self._context.close()


Open = Callable[..., Tab]


@pytest.fixture
def tab(browser: Browser, site: Site) -> Iterator[Open]:
    """Opens tabs. None of them may have complained at the end."""
    tabs: list[Tab] = []

    def start(**more: Any) -> Tab:
        tabs.append(Tab(browser, site, **more))
        return tabs[-1]

    yield start
    for one in tabs:
        one.close()
    assert [problem for one in tabs for problem in one.problems] == []


def test_login_and_logout(tab: Open, site: Site) -> None:
    one = tab()
    page = one.page
    expect(page.locator("#key")).to_be_focused()
    page.fill("#key", "wrong")
    page.press("#key", "Enter")
    expect(page.locator("#wrong")).to_have_text("The API key is wrong.")
    # The browser itself notes the 401 of this one request.
    assert [problem for problem in one.problems if "401" not in problem] == []
    one.problems.clear()
    site.server.wait_for("POST /login .*401 .*The API key is wrong")
    one.login()
    assert page.evaluate("document.cookie") == ""
    assert KEY not in page.url
    page.reload()
    expect(page.locator("#state")).to_have_attribute("data-state", "live")
    page.click("#logout")
    expect(page.locator("#key")).to_be_visible()
    page.reload()
    expect(page.locator("#key")).to_be_visible()


def test_a_key_that_reads_has_neither_buttons_nor_other_peoples_data(tab: Open, site: Site) -> None:
    site.client()
    one = tab()
    page = one.login(VIEWER)
    expect(page.locator("#who")).to_have_text("viewer, read-only")
    assert page.locator("nav a").all_inner_texts() == ["Pipelines", "Channels", "Generation", "Nodes"]
    expect(page.locator(".box").first).to_be_visible()
    assert page.locator("button.box").count() == 0
    one.view("generation")
    expect(page.locator("#main .facts")).to_contain_text("test.toml")
    assert page.locator("#main button").count() == 0


def test_the_picture_is_live_and_a_stage_can_be_tapped(tab: Open, site: Site) -> None:
    one = tab()
    page = one.login()
    message = page.get_by_role("region", name="/chat/{room} message")
    expect(message.locator(".cat")).to_have_text("cat message")
    names = ["guard/rate_limit 100/s", "guard/json", "by_type", "publish room:{room}", "shaky", "drop"]
    assert message.locator(".name").all_inner_texts() == names
    assert message.locator(".label").all_inner_texts() == ["say", "fail", "else"]
    expect(message.locator(".box").first).to_have_class("box idle")
    ann = site.client("aaaaaaaaaaaa")
    stage = message.locator(".box", has_text="shaky")
    for _ in range(30):
        ann.send('{"type":"fail"}')
        ann.send('{"type":"say","text":"hi"}')
        if stage.get_attribute("data-level") == "bad":
            break
        time.sleep(0.2)
    expect(stage).to_have_attribute("data-level", "bad")
    expect(stage.locator(".trouble")).to_contain_text("/s faults")
    # The keyboard opens a tap, and Escape closes it and leads back.
    button = message.locator(".box", has_text="publish")
    button.focus()
    page.keyboard.press("Enter")
    expect(page.locator("#tapped")).to_have_text("/chat/{room} message/by_type/case.say/publish")
    expect(page.locator("#tapstate")).to_have_text("live: 1 stage")
    ann.send('{"type":"say","text":"<b>bold</b>","token":"an-open-secret"}')
    line = page.locator("#lines li", has_text="<b>bold</b>")
    expect(line).to_have_count(1)
    expect(line).to_contain_text('"token":"***"')
    page.click("#tappause")
    ann.send('{"type":"say","text":"while it waits"}')
    expect(page.locator("#tapstate")).to_have_text("paused: 1 not shown")
    page.click("#tappause")
    page.fill('#tapfilter [name="user"]', "eve")
    page.keyboard.press("Enter")
    expect(page.locator("#tapstate")).to_have_text("live: 1 stage")
    ann.send('{"type":"say","text":"not eve"}')
    site.client().send('{"type":"say","text":"it is eve"}')
    expect(page.locator("#lines li")).to_have_count(1)
    expect(page.locator("#lines li")).to_contain_text("it is eve")
    page.keyboard.press("Escape")
    expect(page.locator("#tap")).to_be_hidden()
    expect(button).to_be_focused()


def test_what_clients_choose_stays_text(tab: Open, site: Site) -> None:
    room = "<script>alert(2)</script>"
    ann = site.client("aaaaaaaaaaaa", room)
    ann.send(json.dumps({"type": "say", "text": "<img src=x onerror=alert(3)>"}))
    one = tab()
    page = one.login()
    one.view("clients")
    expect(page.get_by_role("button", name=HOSTILE).first).to_be_visible()
    expect(page.locator("td", has_text=room).first).to_be_visible()
    one.view("channels")
    page.get_by_role("button", name=f"room:{room}").click()
    expect(page.locator(".history")).to_contain_text("<img src=x onerror=alert(3)>")
    expect(page.locator(".names")).to_contain_text(HOSTILE)
    one.view("faults")
    assert page.locator("#main img, #main script, #main b:not([class])").count() == 0


def test_kick_and_ban(tab: Open, site: Site) -> None:
    ann, eve = site.client("aaaaaaaaaaaa"), site.client("eeeeeeeeeeee", "kicked")
    one = tab()
    page = one.login()
    one.view("clients")
    page.select_option("[name=by]", "path")
    page.fill("[name=text]", "/chat/kicked")
    expect(page.locator(".count")).to_have_text(re.compile("of 1$"))
    page.get_by_role("button", name="eve").click()
    expect(page.locator("#details")).to_contain_text("room:kicked")
    page.get_by_role("button", name="Kick", exact=True).click()
    page.locator("#confirmyes").click()
    expect(page.locator("#notice")).to_contain_text("was kicked.")
    assert fails(eve) == 3503
    expect(page.locator(".empty", has_text="No client.")).to_be_visible()

    page.select_option("[name=by]", "user")
    page.fill("[name=text]", HOSTILE)
    page.get_by_role("button", name=HOSTILE).first.click()
    page.get_by_role("button", name="Ban user").click()
    page.keyboard.press("Escape")  # nothing is done without a yes
    assert site.call("bans")["bans"] == []
    page.get_by_role("button", name="Ban user").click()
    page.select_option("#confirmseconds", "3600")
    page.locator("#confirmyes").click()
    expect(page.locator(".bans li")).to_contain_text(HOSTILE)
    assert fails(ann) == 4403
    page.get_by_role("button", name=re.compile("^Unban user")).click()
    expect(page.locator(".bans li")).to_have_count(0)


def test_faults_reloads_and_nodes(tab: Open, site: Site) -> None:
    site.client().send('{"type":"fail"}')
    until(lambda: site.call("faults")["faults"])
    one = tab()
    page = one.login()
    one.view("faults")
    page.locator("summary").first.click()
    expect(page.locator("details pre").first).to_contain_text("shaky.py")
    expect(page.locator("summary .where").first).to_have_text("/chat/{room} message by_type/case.fail/shaky")
    one.view("generation")
    page.get_by_role("button", name="What would change?").click()
    expect(page.locator("#main h3")).to_have_text("A reload now: unchanged")
    page.get_by_role("button", name="Reload", exact=True).click()
    page.locator("#confirmyes").click()
    expect(page.locator("#notice")).to_have_text("The reload: unchanged.")
    expect(page.locator("#main .outcome")).to_have_text("unchanged")
    one.view("nodes")
    expect(page.locator("#main")).to_contain_text("Without Redis")
    expect(page.locator("td[data-status=ok]")).to_have_text("ok")


def test_phones_and_the_dark(tab: Open, site: Site) -> None:
    site.client("aaaaaaaaaaaa", "x" * 120)
    one = tab(width=390, scheme="dark")
    page = one.login()
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(18, 20, 22)"
    for name in ("pipelines", "clients", "channels", "faults", "generation", "nodes"):
        one.view(name)
        expect(page.locator("#main .card").first).to_be_visible()
        page.wait_for_timeout(150)
        assert one.overflow() <= 0, name
    one.view("pipelines")
    page.locator("button.box").first.click()
    expect(page.locator("#tapstate")).to_have_text("live: 1 stage")
    assert one.overflow() <= 0


def test_it_asks_one_at_a_time_and_only_while_it_is_seen(tab: Open, site: Site) -> None:
    one = tab()
    running, most, asked = 0, 0, 0

    def began(request: Any) -> None:
        nonlocal running, most, asked
        running, asked = running + 1, asked + 1
        most = max(most, running)

    def ended(request: Any) -> None:
        nonlocal running
        running -= 1

    page = one.page
    page.clock.install()
    one.login()
    one.view("generation")
    expect(page.locator("#main .facts")).to_contain_text("test.toml")
    page.on("request", began)
    page.on("requestfinished", ended)
    page.on("requestfailed", ended)
    for _ in range(3):
        with page.expect_response(f"{site.url}/api/generation"):
            page.clock.run_for(2500)
    page.wait_for_timeout(100)
    assert (most, asked) == (1, 3)
    page.evaluate(
        "Object.defineProperty(document, 'hidden', {value: true, configurable: true});"
        "document.dispatchEvent(new Event('visibilitychange'))"
    )
    page.clock.run_for(60_000)
    page.wait_for_timeout(200)
    assert asked == 3
    page.evaluate("delete document.hidden; document.dispatchEvent(new Event('visibilitychange'))")
    page.wait_for_timeout(200)
    assert asked == 4


def test_it_says_when_the_server_is_away(serve: Serve, browser: Browser) -> None:
    site = Site(serve(CONF.replace("127.0.0.1:0", f"127.0.0.1:{free_port()}"), pipelines=PIPELINES))
    one = Tab(browser, site)
    page = one.login()
    assert site.server.stop() == 0
    expect(page.locator("#state")).to_have_attribute("data-state", "away")
    away = "The server does not answer. This page tries again by itself."
    expect(page.locator("#problem")).to_have_text(away)
    server = serve(CONF.replace("127.0.0.1:0", f"127.0.0.1:{site.port}"), pipelines=PIPELINES)
    # The session is that of the key, and outlives the process.
    expect(page.locator("#state")).to_have_attribute("data-state", "live", timeout=20_000)
    expect(page.locator("#problem")).to_be_hidden()
    one.close()
    assert server.stop() == 0


def test_the_command_line_has_the_same(site: Site) -> None:
    client = site.client()
    control = site.server.wait_for(r"control +(\S+)")[1]
    for _ in range(3):
        client.send('{"type":"other"}')
    shown = site.call("stages", seconds=0.1)["pipelines"]
    drawn = {(one["path"], stage) for one in shown for stage in boxes(one["stages"])}
    tap = [sys.executable, "-m", "fws", "api", "tap", "message/guard/json"]
    environ = environment() | {"FWS_API_URL": f"{site.url}/api", "FWS_API_KEY": KEY}
    with subprocess.Popen(tap, env=environ, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert json.loads(process.stdout.readline()) == {"tapping": 1, "generation": 1}
        client.send('{"type":"other"}')
        assert json.loads(process.stdout.readline())["in"] == '{"type":"other"}'
        process.send_signal(signal.SIGINT)
    assert process.returncode == 0
    table = json.loads(fws("top", "--socket", control, "--json", "--every", "200ms").stdout)
    assert {(row["path"], row["stage"]) for row in table["stages"]} <= drawn

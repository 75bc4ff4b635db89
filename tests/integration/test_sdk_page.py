"""The SDK for JavaScript in a real browser, on a page of another origin than the server's; and a plain EventSource.

The page is at http://localhost, and its server at http://127.0.0.1, which is another origin for the browser.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from typing import Any

import jwt
import pytest
from playwright.sync_api import Browser, Page, sync_playwright

from tests.integration.conftest import Running, launcher
from tests.integration.operator import Operator
from tests.integration.redis_server import free_port
from tests.integration.sdk import KEY, SDK, TRANSPORTS
from tests.integration.test_page import ARGUMENTS, CHROMIUM

CONF = """
[server]
static = "page"
origins = ["http://localhost:PORT"]

[endpoints."/connection/{transport}"]
protocol = "centrifuge"
connect = ["jwt HS256 ${KEY}"]

[endpoints."/events/{channel}"]
transports = ["sse"]
connect = ["join chat:{channel}"]

[channels."chat:{name}"]
history = 100
subscribe = "identity.user != null"
publish = "identity.user != null"
"""
HTML = "<!doctype html><title>SDK</title><script src=centrifuge.js></script>"
# What the page defines for the tests: a client, and waiting for one event of anything that emits events.
SCRIPT = """
const client = (transport, server, token) => {
  const scheme = transport === "websocket" ? "ws" : "http";
  const endpoint = `${server.replace("http", scheme)}/connection/${transport}`;
  const options = { token, emulationEndpoint: `${server}/emulation`, minReconnectDelay: 50, maxReconnectDelay: 200 };
  return new Centrifuge([{ transport, endpoint }], options);
};
const until = (start) => new Promise((resolve, reject) => {
  setTimeout(() => reject(new Error("not in time")), 15000);
  start(resolve);
});
"""
CONVERSE = """
async ([transport, server, token, channel]) => {
  const connection = client(transport, server, token);
  const subscription = connection.newSubscription(channel);
  const got = [];
  subscription.on("publication", (context) => got.push(context.data));
  subscription.subscribe();
  connection.connect();
  const { transport: used } = await until((done) => connection.on("connected", done));
  await subscription.ready(15000);
  await subscription.publish({ text: "hello" });
  if (got.length === 0) await until((done) => subscription.on("publication", done));
  connection.disconnect();
  return { used, got };
}
"""
REFUSED = """
async ([transport, server, token]) => {
  const connection = client(transport, server, token);
  const refused = until((done) => connection.on("error", done));
  connection.on("connected", () => { throw new Error("connected"); });
  connection.connect();
  const { type, error } = await refused;
  connection.disconnect();
  return [type, error.code];
}
"""


@pytest.fixture(scope="module")
def operator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Operator]:
    folder = tmp_path_factory.mktemp("sdk")
    page = folder / "conf" / "page"
    page.mkdir(parents=True)
    (page / "index.html").write_text(f"{HTML}<script>{SCRIPT}</script>")
    shutil.copy(SDK / "node_modules" / "centrifuge" / "dist" / "centrifuge.js", page)
    port = free_port()
    with launcher(folder, None) as serve:
        server = serve(CONF.replace("PORT", str(port)), listen=f"127.0.0.1:{port}", KEY=KEY)
        yield Operator(server, folder)


@pytest.fixture
def server(operator: Operator) -> Running:
    return operator.server


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield chromium
        chromium.close()


@pytest.fixture(scope="module")
def page(operator: Operator, browser: Browser) -> Page:
    return opened(browser, f"http://localhost:{operator.server.port}/")


def opened(browser: Browser, url: str) -> Page:
    page = browser.new_page()
    page.goto(url)
    return page


def token(user: str = "ann") -> str:
    return jwt.encode({"sub": user, "exp": int(time.time()) + 600}, KEY, "HS256")


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_a_page_of_an_allowed_origin_converses(server: Running, page: Page, transport: str) -> None:
    result = page.evaluate(CONVERSE, [transport, server.page, token(), f"chat:{transport}"])
    assert result == {"used": transport, "got": [{"text": "hello"}]}


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_a_page_of_another_origin_is_refused(server: Running, browser: Browser, transport: str) -> None:
    # The log has each reason once in a minute.
    origin = f"http://{transport.replace('_', '-')}.localhost:{server.port}"
    page = opened(browser, f"{origin}/")
    assert page.evaluate(REFUSED, [transport, server.page, token()]) == ["transport", 2]
    server.wait_for(rf"refused 127.0.0.1: 403 the origin {origin} .*connection/{transport}")
    page.close()


def test_an_event_source_returns_to_what_it_has_missed(operator: Operator, server: Running, page: Page) -> None:
    page.evaluate(
        """
        async ([server, token]) => {
          window.got = [];
          window.opened = 0;
          window.source = new EventSource(`${server}/events/tea`);
          source.onmessage = (event) => got.push(event.data);
          source.onopen = () => { opened += 1; };
          window.speaker = client("websocket", server, token);
          speaker.connect();
          await speaker.ready(15000);
          await until((done) => { if (source.readyState === 1) done(); else source.addEventListener("open", done); });
          const first = until((done) => source.addEventListener("message", done));
          await speaker.publish("chat:tea", "one");
          await first;
        }
        """,
        [server.page, token()],
    )
    [listener] = [one for one in operator.json("clients") if "/events/tea" in str(one)]
    assert operator.fws("kick", listener["id"]).returncode == 0
    # The browser returns after some seconds by itself, and says how far it has read.
    got: list[Any] = page.evaluate(
        """
        async () => {
          if (source.readyState === 1) await until((done) => source.addEventListener("error", done));
          for (const text of ["two", "three"]) await speaker.publish("chat:tea", text);
          await until((done) => source.addEventListener("message", () => { if (got.length === 3) done(); }));
          source.close();
          return [opened, ...got];
        }
        """
    )
    assert got == [2, "one", "two", "three"]

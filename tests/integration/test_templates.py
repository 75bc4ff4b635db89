"""Each template of `fws new` as a newcomer sees it: server, page, and the commands of the README."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect
from websockets.sync.client import ClientConnection, connect

from tests.cli.command import environment, fws, fws_here
from tests.integration.conftest import Running, Serve
from tests.integration.test_page import browser as browser  # the fixture

pytestmark = pytest.mark.process


@pytest.fixture
def problems() -> Iterator[list[str]]:
    """What the pages complain about, which must be nothing at the end."""
    found: list[str] = []
    yield found
    assert found == []


def started(serve: Serve, folder: Path, template: str) -> Running:
    assert fws_here("new", folder / template, "--template", template).returncode == 0
    return serve(folder / template / "conf" / "app.toml")


def opened(browser: Browser, url: str, problems: list[str]) -> Page:
    page = browser.new_page()
    page.on("pageerror", lambda error: problems.append(str(error)))
    # Also what the Content-Security-Policy of the page refuses.
    page.on("console", lambda line: problems.append(line.text) if line.type in ("error", "warning") else None)
    page.goto(url)
    return page


def reads(client: ClientConnection, *messages: object) -> None:
    assert [json.loads(client.recv(10)) for _ in messages] == list(messages)


def test_exec(serve: Serve, tmp_path: Path) -> None:
    server = started(serve, tmp_path, "exec")
    with connect(server.url("/")) as ann, connect(server.url("/sum")) as bob:
        ann.send("to be or not to be")
        assert ann.recv(10) == "6"
        for number, total in ("3", "3"), ("four", "That is no number."), ("4", "7"):
            bob.send(number)
            assert bob.recv(10) == total
    with connect(server.url("/counter")) as ann:
        reads(ann, {"count": 0})
        ann.send("up")
        reads(ann, {"count": 1})
        with connect(server.url("/counter")) as bob:
            reads(bob, {"count": 1})
            bob.send("sideways")
            bob.send("down")
            reads(bob, {"error": "say up or down"}, {"count": 0})
            reads(ann, {"count": 0})
    assert server.stop() == 0
    assert "Traceback" not in server.output


def test_rooms(serve: Serve, tmp_path: Path, browser: Browser, problems: list[str]) -> None:
    server = started(serve, tmp_path, "rooms")
    ann, bob = (opened(browser, f"{server.page}/#room=tea%20%26%20cake", problems) for _ in range(2))
    for page, name in (ann, "Ann <b>"), (bob, "../Bob"):
        page.fill("#name", name)
        page.press("#name", "Enter")
        expect(page.locator("#status")).to_have_attribute("data-state", "open")
        expect(page.locator("#title")).to_have_text("tea & cake")
    for page in ann, bob:
        expect(page.locator("#people li")).to_have_count(2)
    expect(ann.locator("#people li", has_text="you")).to_have_text("Ann <b> (you)")
    ann.locator("#text").press_sequentially("hel")
    expect(bob.locator("#typing")).to_have_text("Ann <b> is typing …")
    ann.fill("#text", "hello <i>Bob</i>")
    ann.press("#text", "Enter")
    expect(bob.locator("#log p:not(.own)", has_text="Ann <b> hello <i>Bob</i>")).to_have_count(1)
    expect(ann.locator("#log p.own", has_text="hello")).to_have_count(1)
    expect(bob.locator("#typing")).to_be_empty()
    # Somebody who comes later, and somebody who returns, read what was said.
    bob.click("#leave")
    expect(ann.locator("#people li")).to_have_count(1)
    bob.click("#door button")
    expect(bob.locator("#log p", has_text="hello")).to_have_count(1)
    for page in ann, bob:
        page.close()


def test_api(serve: Serve, tmp_path: Path, browser: Browser, problems: list[str]) -> None:
    """The commands of the README make a link and publish; only the port is another one here."""
    server = started(serve, tmp_path, "api")
    folder = tmp_path / "api"
    token = fws("token", "make", "conf/app.toml", "--user", "ann", cwd=folder).stdout.strip()
    page = opened(browser, f"{server.page}/#{token}", problems)
    expect(page.locator("#status")).to_have_attribute("data-state", "open")
    shown = re.search(r"(export FWS.*)\n +(curl .*)\n +python (.*)", (folder / "README.md").read_text())
    assert shown is not None
    command = f"{shown[1]}; {shown[2]} -sS --fail && {shlex.quote(sys.executable)} {shown[3]}"
    done = subprocess.run(
        command.replace("localhost:9000", f"127.0.0.1:{server.port}"),
        shell=True,
        cwd=folder,
        env=environment(FWS_API_URL=f"{server.page}/api"),
        capture_output=True,
        text=True,
        timeout=20,
    )
    assert [json.loads(answer)["result"]["offset"] for answer in done.stdout.replace("}{", "}\n{").split()] == [1, 2]
    expect(page.locator("#list li")).to_have_text(["Your parcel has arrived", "hi"])
    # Without a token, and with one that is not valid, the page says what to do.
    page.goto(f"{server.page}/#x")
    expect(page.locator("#status")).to_contain_text("The token is not valid")
    page.goto("about:blank")
    page.goto(server.page)
    expect(page.locator("#status")).to_contain_text("This page needs a token")
    page.close()


def test_dashboard(serve: Serve, tmp_path: Path, browser: Browser, problems: list[str]) -> None:
    server = started(serve, tmp_path, "dashboard")
    page = opened(browser, server.page, problems)
    expect(page.locator("#status")).to_have_attribute("data-state", "open")
    expect(page.locator("output").first).to_have_text(re.compile(r"^[\d.]+$"))
    lag = page.locator("[data-number=lag]")
    expect(lag.locator("output")).to_have_text(re.compile(r"^[\d.]+ ms$"))
    expect(lag.locator("polyline")).to_have_attribute("points", re.compile(r"^[\d., ]+ [\d., ]+$"))
    expect(lag.locator("svg")).to_have_attribute("aria-label", re.compile("[2-9] values, the highest"))
    page.close()
    assert server.stop() == 0

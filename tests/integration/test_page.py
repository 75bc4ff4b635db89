"""The chat page in a real browser: two tabs chat, and one survives a restart of the server."""

from __future__ import annotations

import shutil
import socket
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

from tests.cli.command import fws
from tests.integration.conftest import ROOT, Serve

CHROMIUM = shutil.which("chromium") or "/usr/bin/chromium"
# Without these Chromium looks for servers of its maker at every start.
ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield chromium
        chromium.close()


def open_page(browser: Browser, url: str, problems: list[str]) -> Page:
    page = browser.new_context(viewport={"width": 390, "height": 800}).new_page()
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.goto(url)
    expect(page.locator("#status")).to_have_attribute("data-state", "open")
    return page


def say(page: Page, text: str) -> None:
    page.fill("#text", text)
    page.press("#text", "Enter")


def test_two_tabs_chat_and_survive_a_restart(serve: Serve, browser: Browser) -> None:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    conf = ROOT / "conf" / "chat.toml"
    server = serve(conf, listen=f"127.0.0.1:{port}")
    problems: list[str] = []
    first = open_page(browser, f"http://127.0.0.1:{port}/", problems)
    second = open_page(browser, f"http://127.0.0.1:{port}/", problems)
    say(first, "/nick Ann")
    say(second, "/nick Bob")
    expect(first.locator("#people li", has_text="Bob")).to_have_count(1)
    expect(second.locator("#people li", has_text="Ann")).to_have_count(1)

    say(first, "hello <b>Bob</b>")
    own = first.locator("article.message.own", has_text="hello <b>Bob</b>")
    others = second.locator("article.message:not(.own)", has_text="hello <b>Bob</b>")
    expect(own).to_have_count(1)
    expect(others).to_have_count(1)
    expect(second.locator("article.message b")).to_have_count(0)
    say(second, "/me waves")
    expect(first.locator("article.message", has_text="waves")).to_have_count(1)

    say(first, "javascript:alert(1) (see https://example.org/a_(b)?q=1).")
    link = second.locator("article.message a")
    expect(link).to_have_count(1)
    expect(link).to_have_attribute("href", "https://example.org/a_(b)?q=1")
    expect(link).to_have_attribute("rel", "noopener noreferrer nofollow")
    colour = second.locator("#people li", has_text="Ann").get_attribute("style")

    # A tab that was offline receives what it missed, once, and in its place.
    control = server.wait_for(r"control +(\S+)")[1]
    bob = second.locator("#people li", has_text="you").get_attribute("data-id") or ""
    assert fws("kick", "--socket", control, bob).returncode == 0
    expect(second.locator("#status")).to_have_attribute("data-state", "waiting")
    say(first, "said while Bob was away")
    expect(second.locator("#status")).to_have_attribute("data-state", "open", timeout=30_000)
    say(first, "said when Bob was back")
    expect(second.locator("article.message", has_text="Bob was back")).to_have_count(1)
    expect(second.locator("article.message", has_text="Bob was away")).to_have_count(1)
    expect(second.locator("p.event", has_text="lines are missing")).to_have_count(0)
    # A new tab sees what was said before.
    third = open_page(browser, f"http://127.0.0.1:{port}/", problems)
    expect(third.locator("article.message", has_text="Bob was away")).to_have_count(1)
    expect(third.locator("#people li")).to_have_count(3)
    third.context.close()

    # What is typed while the server is away stays; the page comes back by itself, under its name.
    first.fill("#text", "not sent yet")
    assert server.stop() == 0
    expect(first.locator("#status")).to_have_attribute("data-state", "waiting")
    serve(conf, listen=f"127.0.0.1:{port}")
    expect(first.locator("#status")).to_have_attribute("data-state", "open", timeout=30_000)
    expect(second.locator("#status")).to_have_attribute("data-state", "open", timeout=30_000)
    assert first.input_value("#text") == "not sent yet"
    # The server had its history in memory.
    expect(first.locator("p.event", has_text="lines are missing")).to_have_count(1)
    expect(second.locator("#people li", has_text="Ann")).to_have_attribute("style", colour or "")
    first.press("#text", "Enter")
    expect(second.locator("article.message", has_text="not sent yet")).to_have_count(1)

    second.context.close()
    expect(first.locator("#people li", has_text="Bob")).to_have_count(0)
    first.context.close()
    assert problems == []

"""The pages of the examples in a real browser: two tabs chat or vote, and survive a restart of the server."""

from __future__ import annotations

import shutil
import socket
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Locator, Page, expect, sync_playwright

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


def open_poll(browser: Browser, url: str, problems: list[str]) -> Page:
    page = open_page(browser, url, problems)
    expect(page.locator("#people li", has_text="you")).to_have_count(1)
    return page


def votes(page: Page, answer: str) -> Locator:
    return page.locator(f'#answers [value="{answer}"] .count')


def test_a_poll_over_the_protocol_centrifuge_survives_cut_connections(serve: Serve, browser: Browser) -> None:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    conf = ROOT / "conf" / "centrifuge.toml"
    server = serve(conf, listen=f"127.0.0.1:{port}")
    problems: list[str] = []
    requests: list[str] = []
    first = open_poll(browser, f"http://127.0.0.1:{port}/", problems)
    second = open_poll(browser, f"http://127.0.0.1:{port}/", problems)
    second.on("request", lambda request: requests.append(request.url))
    expect(first.locator("#people li")).to_have_count(2)
    expect(second.locator("#people li")).to_have_count(2)

    first.click('[value="tea"]')
    second.focus('[value="coffee"]')
    second.keyboard.press("Enter")
    for page in (first, second):
        expect(votes(page, "tea")).to_have_text("1")
        expect(votes(page, "coffee")).to_have_text("1")
        expect(page.locator("#total")).to_have_text("2 of 2 here have voted")
    # Everybody has one vote.
    first.click('[value="water"]')
    expect(votes(second, "water")).to_have_text("1")
    expect(votes(second, "tea")).to_have_text("0")
    first.click("#ask")
    expect(first.locator("#log li", has_text="server's clock says")).to_have_count(1)

    # A tab that was cut off recovers what it has missed, and its own vote counts again.
    control = server.wait_for(r"control +(\S+)")[1]
    here = first.locator("#people li", has_text="you").get_attribute("data-id") or ""
    assert fws("kick", "--socket", control, here, "--code", "3001").returncode == 0
    away, there = first, second
    expect(away.locator("#status")).to_have_attribute("data-state", "waiting")
    there.click('[value="cocoa"]')
    expect(away.locator("#status")).to_have_attribute("data-state", "open", timeout=30_000)
    expect(away.locator("#log li", has_text="1 vote recovered")).to_have_count(1)
    for page in (away, there):
        expect(votes(page, "cocoa")).to_have_text("1")
        expect(page.locator("#total")).to_have_text("2 of 2 here have voted")

    # A new tab sees the votes, and nobody votes for a tab that is closed.
    third = open_poll(browser, f"http://127.0.0.1:{port}/", problems)
    expect(third.locator("#total")).to_have_text("2 of 3 here have voted")
    third.click('[value="tea"]')
    expect(votes(first, "tea")).to_have_text("1")
    third.context.close()
    expect(votes(first, "tea")).to_have_text("0")
    expect(first.locator("#people li")).to_have_count(2)

    # The button does the same by itself.
    second.click("#leave")
    expect(second.locator("#status")).to_have_attribute("data-state", "closed")
    first.click('[value="tea"]')
    expect(second.locator("#log li", has_text="1 vote recovered")).to_have_count(1, timeout=15_000)
    expect(second.locator("#total")).to_have_text("2 of 2 here have voted")

    # The server had its history in memory. The pages vote again when it is back.
    assert server.stop() == 0
    expect(first.locator("#status")).to_have_attribute("data-state", "waiting")
    serve(conf, listen=f"127.0.0.1:{port}")
    for page in (first, second):
        expect(page.locator("#status")).to_have_attribute("data-state", "open", timeout=30_000)
        expect(page.locator("#log li", has_text="has forgotten what was missed")).to_have_count(1)
        expect(page.locator("#total")).to_have_text("2 of 2 here have voted")
    first.context.close()
    second.context.close()
    assert problems == []
    # Nothing is loaded from another host.
    assert [url for url in requests if f"//127.0.0.1:{port}/" not in url] == []

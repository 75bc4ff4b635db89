"""A newcomer's first hour: a new project, an edit, a failing test, the fix, and a browser tab that stays connected."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect

from tests.cli.command import environment, fws
from tests.integration.conftest import Running
from tests.integration.test_page import browser as browser  # the fixture

pytestmark = pytest.mark.process

PAGE = """<!doctype html><title>app</title><ul id=log></ul><script>
const socket = new WebSocket(`ws://${location.host}/`)
socket.onopen = () => document.title = "open"
socket.onclose = () => document.title = "closed"
socket.onmessage = event => document.querySelector("#log").append(
  Object.assign(document.createElement("li"), {textContent: event.data}))
</script>"""


def test_edit_fail_fix_and_the_tab_stays_connected(tmp_path: Path, browser: Browser) -> None:
    assert fws("new", "app", cwd=tmp_path).returncode == 0
    project = tmp_path / "app"
    conf = project / "conf" / "app.toml"
    assert fws("test", "conf/app.toml", cwd=project).returncode == 0
    (project / "conf" / "page").mkdir()
    (project / "conf" / "page" / "index.html").write_text(PAGE)
    conf.write_text(conf.read_text().replace("[server]\n", '[server]\nstatic = "page"\n'))
    server = Running(["run", "conf/app.toml", "--watch", "--listen", "127.0.0.1:0"], project, {})
    try:
        server.ready()
        page = browser.new_page()
        page.goto(server.page)
        expect(page).to_have_title("open")
        page.evaluate("socket.send('Ada')")
        expect(page.locator("li")).to_have_text(["Hello, Ada!"])

        # The edit breaks the promise of the test: `fws test` says so, and the server refuses it.
        text = conf.read_text()
        conf.write_text(text.replace("hello greeting=Hello", "hello greeting=Welcome"))
        failed = fws("test", "conf/app.toml", cwd=project)
        assert failed.returncode == 1
        assert "expected ann to receive Hello, Ada!" in failed.stdout
        assert "got      Welcome, Ada!" in failed.stdout
        assert "by       * message/echo" in failed.stdout
        server.wait_for(r"the reload was refused, generation 1 stays in force")
        page.evaluate("socket.send('Bob')")
        expect(page.locator("li").last).to_have_text("Hello, Bob!")

        # The fix: the test says what is wanted now. The server swaps, and the tab notices nothing.
        conf.write_text(conf.read_text().replace("ann< Hello, Ada!", "ann< Welcome, Ada!"))
        assert fws("test", "conf/app.toml", cwd=project).returncode == 0
        server.wait_for(r"generation 2 is in force")
        page.evaluate("socket.send('Eve')")
        expect(page.locator("li").last).to_have_text("Welcome, Eve!")
        expect(page).to_have_title("open")
        assert server.stop() == 0
    finally:
        server.end()


def test_the_shipped_chat_is_edited_under_a_browser(tmp_path: Path, browser: Browser) -> None:
    root = Path(__file__).parents[2]
    shutil.copytree(root / "conf", tmp_path / "conf")
    shutil.copytree(root / "pipelines", tmp_path / "pipelines", ignore=shutil.ignore_patterns("__pycache__"))
    server = Running(["run", "conf/chat.toml", "--watch", "--listen", "127.0.0.1:0"], tmp_path, {})
    try:
        server.ready()
        page = browser.new_page()
        page.goto(server.page)
        expect(page.locator("#status")).to_have_attribute("data-state", "open")
        page.fill("#text", "/nick Ann")
        page.press("#text", "Enter")
        conf = tmp_path / "conf" / "chat.toml"
        conf.write_text(conf.read_text().replace('"rate_limit 20/s burst=40"', '"rate_limit 21/s burst=40"'))
        server.wait_for(r"the reload was refused", timeout=20)  # its test knows the rate
        done = subprocess.run(
            [sys.executable, "-m", "fws", "reload", "--conf", "conf/chat.toml", "--no-test"],
            cwd=tmp_path, env=environment(), capture_output=True, text=True, timeout=60,
        )  # fmt: skip
        assert "its state is kept" in done.stdout, done.stderr
        page.fill("#text", "still here")
        page.press("#text", "Enter")
        expect(page.locator("article.message.own", has_text="still here")).to_have_count(1)
        expect(page.locator("#people li", has_text="Ann")).to_have_count(1)
    finally:
        server.end()

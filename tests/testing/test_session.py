"""`fws try`: a conversation line by line, saved as a test, and continued after a reload."""

from __future__ import annotations

from pathlib import Path

import pytest

from fws.testing.session import Session
from fws.testing.suite import Suite

CONF = """
[pipelines]
connect = ["join lobby"]
message = ["rate_limit 3/s", "when message != 'no'", "broadcast lobby"]
"""


@pytest.fixture
def conf(tmp_path: Path) -> Path:
    file = tmp_path / "app.toml"
    file.write_text(CONF)
    return file


def test_each_line_shows_what_every_stage_made_of_it_and_what_others_received(conf: Path) -> None:
    session = Session(str(conf))
    assert session.enter("ann> connect /") == ["     connect    join ✓"]
    session.enter("bob> connect /")
    assert session.enter("ann> hi") == [
        "     message    rate_limit ✓ 2 left  when ✓ message != 'no' is true: message = \"hi\"  broadcast ✓",
        "ann< hi",
        "bob< hi",
    ]
    shown = session.enter("ann> no")
    assert shown == [
        "     message    rate_limit ✓ 1 left  when ✗ drop message != 'no' is false: message = \"no\"  app.toml:4"
    ]
    assert session.enter("bob< nothing") == ["     ✓"]
    assert "is not a statement" in session.enter("hello")[0]
    assert session.enter("# a comment") == []


def test_a_session_is_saved_as_a_test_that_passes(conf: Path) -> None:
    session = Session(str(conf))
    for line in ("ann> connect /", "bob> connect /", "ann> close the door", "ann> x x4", "wait 1s", "bob> close"):
        session.enter(line)
    file = conf.with_name("app_test.toml")
    assert "saved in" in session.enter(f":save {file}")[0]
    session.enter(f":save {file}")
    text = file.read_text()
    assert "ann< \\close the door" in text
    assert "     drop message/rate_limit x2" in text
    assert "bob< x x2" in text
    file.write_text(text.replace('name = "', 'name = "first ', 1))
    assert [result.failure for result in Suite(conf).run()] == [None, None]


def test_a_reload_keeps_the_clients_and_refuses_a_broken_file(conf: Path) -> None:
    session = Session(str(conf))
    session.enter("ann> connect /")
    session.enter("ann> x x3")
    conf.write_text(CONF.replace("'no'", "'x'").replace("rate_limit 3/s", "rate_limit 4/s"))
    assert session.enter(":reload") == ["     reloaded; the clients are still connected"]
    assert "none left" in session.enter("ann> y")[0], "the bucket was taken over"
    session.enter(":clock +2s")
    assert "drop message != 'x' is false" in session.enter("ann> x")[0]
    conf.write_text("[pipelines]\nmessage = ['nonsense']")
    assert "the file is refused" in session.enter(":reload")[0]
    assert session.enter("ann> y")[-1] == "ann< y"
    assert session.enter(":clients") == ["     ann"]


def test_commands(conf: Path) -> None:
    session = Session(str(conf))
    assert ":save FILE" in "\n".join(session.enter(":help"))
    assert session.enter(":clock") == ["     1767225600.000"]
    assert "has no unit" in session.enter(":clock 5")[0]
    assert "there is no command :foo" in session.enter(":foo")[0]
    assert "name a file" in session.enter(":save")[0]
    assert "No such file" in session.enter(":save /nowhere/at/all.toml")[0]
    assert {":reload", "lobby"} <= set(session.words()) | {"lobby"}
    assert session.enter(":quit") == []
    assert session.ended

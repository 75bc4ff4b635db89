"""Publishing for a caller who wants the position, with keys and without history; and pages of a history."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gevent
import pytest

from fws.base.errors import StorageError
from fws.channels import once, waiting
from fws.config import Channel
from fws.histories.base import Page
from fws.pipeline.publication import Position, Publication
from tests.channels.test_history import Slow
from tests.channels.test_nodes import Nodes
from tests.support import Harness, build

CONF = """
[channels."lobby"]
history = 5
[endpoints."/positions"]
positions = true
connect = ["join lobby"]
[endpoints."/raw"]
connect = ["join lobby", "join plain"]
"""


@pytest.fixture
def harness(tmp_path: Path) -> Harness:
    return build(CONF, tmp_path)


def offset(position: Position | None) -> int | None:
    return None if position is None else position.offset


def page(
    harness: Harness, channel: str, since: Position | None = None, limit: int = -1, *, reverse: bool = False
) -> Page:
    pages: list[Page | None] = []
    harness.channels.page(channel, since=since, limit=limit, reverse=reverse, done=pages.append)
    [found] = pages
    assert found is not None
    return found


class Late(Slow):
    """A history that says when the test wants it to where publications are."""

    def __init__(self) -> None:
        super().__init__()
        self.waiting: list[Callable[[Position | None], None]] = []

    def publish(self, publication: Publication, settings: Channel, done: Any = None) -> None:
        self.waiting.append(done)


def test_the_position_of_a_publication_is_returned(harness: Harness) -> None:
    client = harness.connect("/raw")
    positions = [harness.channels.publish_and_wait("lobby", message) for message in "xyz"]
    assert positions[-1] == page(harness, "lobby").top
    assert [offset(position) for position in positions] == [1, 2, 3]
    assert harness.channels.publish_and_wait("plain", "p") is None
    assert harness.sent(client) == ["x", "y", "z", "p"]


def test_the_sender_goes_with_it(tmp_path: Path) -> None:
    harness = build(CONF + '[endpoints."/others"]\nconnect = ["join lobby"]\ndeliver = ["skip_sender"]', tmp_path)
    client = harness.connect("/others")
    harness.channels.publish_and_wait("lobby", "own", sender=client.id)
    harness.channels.publish_and_wait("lobby", "another's")
    assert harness.sent(client) == ["another's"]


def test_what_is_not_to_be_kept_is_sent_without_an_offset_on_all_nodes(tmp_path: Path) -> None:
    nodes = Nodes(CONF, tmp_path)
    clients = [node.connect("/positions") for node in (nodes.first, nodes.second)]
    nodes.settle()
    assert nodes.first.channels.publish_and_wait("lobby", "typing", keep=False) is None
    assert offset(nodes.first.channels.publish_and_wait("lobby", "hello")) == 1
    nodes.settle()
    for node, client in zip((nodes.first, nodes.second), clients, strict=True):
        sent = node.sent(client)
        assert sum(text == "typing" for text in sent) == 1
        assert [json.loads(text).get("message") for text in sent if text != "typing"] == [None, "hello"]
        assert [one.message for one in page(node, "lobby").publications] == ["hello"]


def test_filters_run_on_what_is_not_kept_and_may_make_another_publication_of_it(tmp_path: Path) -> None:
    conf = CONF + '[pipelines]\npublication = ["loud"]\n'
    loud = """
from fws import DROP, Filter, Publication

class Loud(Filter):
    def publication(self, publication):
        if publication.message == "drop me":
            return DROP
        return Publication(publication.channel, publication.message.upper())
"""
    harness = build(conf, tmp_path, pipelines={"loud": loud})
    client = harness.connect("/raw")
    assert harness.channels.publish_and_wait("lobby", "a", keep=False) is None
    assert harness.channels.publish_and_wait("lobby", "drop me") is None
    assert offset(harness.channels.publish_and_wait("lobby", "b")) == 1
    assert harness.sent(client) == ["A", "B"]
    assert [one.message for one in page(harness, "lobby").publications] == ["B"]


def test_filters_that_block_keep_the_caller_waiting_and_nobody_else(tmp_path: Path) -> None:
    slow = """
import gevent
from fws import Filter

class Slow(Filter):
    def publication(self, publication):
        gevent.sleep(0)
"""
    harness = build(CONF + '[pipelines]\npublication = ["slow"]\n', tmp_path, pipelines={"slow": slow})
    callers = [gevent.spawn(harness.channels.publish_and_wait, "lobby", message) for message in "xyz"]
    gevent.sleep(0)
    harness.settle()
    gevent.joinall(callers, timeout=5)
    assert [offset(caller.value) for caller in callers] == [1, 2, 3]


def test_a_key_is_published_once_and_has_the_position_of_the_first(harness: Harness) -> None:
    client = harness.connect("/raw")
    publish = harness.channels.publish_and_wait
    first = publish("lobby", "x", key="1")
    assert publish("lobby", "other", key="2") != first
    assert publish("lobby", "again", key="1") == first
    assert publish("plain", "p", key="1") is None
    assert publish("plain", "again", key="1") is None
    assert harness.sent(client) == ["x", "other", "p"]
    harness.clock.advance(301)
    assert offset(publish("lobby", "later", key="1")) == 3


def test_a_key_that_a_filter_has_used_is_not_published_again(harness: Harness) -> None:
    assert harness.channels.publish("lobby", "x", key="1")
    assert harness.channels.publish_and_wait("lobby", "again", key="1") is None
    harness.channels.publish_and_wait("lobby", "y", key="2")
    assert not harness.channels.publish("lobby", "again", key="2")
    assert page(harness, "lobby").top.offset == 2


@pytest.mark.parametrize("channel", ["", "a\x00b", "x" * 201])
def test_an_invalid_channel_is_refused(harness: Harness, channel: str) -> None:
    with pytest.raises(ValueError, match="channel"):
        harness.channels.publish_and_wait(channel, "x", key="1")


def test_a_message_that_json_cannot_carry_does_not_use_its_key(harness: Harness) -> None:
    for channel in ("lobby", "plain"):
        with pytest.raises(TypeError):
            harness.channels.publish_and_wait(channel, object(), key="1")
        harness.channels.publish_and_wait(channel, "x", key="1")
    assert page(harness, "lobby").top.offset == 1


def test_a_filter_that_fails_does_not_use_the_key(harness: Harness) -> None:
    """Fault: whoever tried again was told for five minutes that the message was being published."""

    def fail(decided: object) -> None:
        raise KeyError("user")

    with pytest.raises(KeyError):
        once.Once(harness.generation.services.storage, harness.node.context).publish("lobby", "1", fail)
    harness.channels.publish_and_wait("lobby", "x", key="1")
    assert page(harness, "lobby").top.offset == 1


def test_a_lost_publication_is_an_error_and_may_be_tried_again(tmp_path: Path) -> None:
    history = Late()
    harness = build(CONF, tmp_path, history=history)
    caller = gevent.spawn(harness.channels.publish_and_wait, "lobby", "x", key="1")
    gevent.sleep(0)
    history.waiting.pop()(None)
    with pytest.raises(StorageError, match="has not accepted"):
        caller.get()
    caller = gevent.spawn(harness.channels.publish_and_wait, "lobby", "x", key="1")
    gevent.sleep(0)
    history.waiting.pop()(Position("e", 7))
    assert caller.get() == Position("e", 7)


def test_a_key_whose_publication_is_decided_late_is_not_published_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Redis is away: the message waits in the buffer, and the caller tries again."""
    for module in (once, waiting):
        monkeypatch.setattr(module, "PATIENCE", 0.1)
    history = Late()
    harness = build(CONF, tmp_path, history=history)
    with pytest.raises(StorageError, match="may be published later"):
        harness.channels.publish_and_wait("lobby", "x", key="1")
    with pytest.raises(StorageError, match="is being published"):
        harness.channels.publish_and_wait("lobby", "x", key="1")
    [done] = history.waiting
    done(Position("e", 7))
    gevent.sleep(0)
    harness.settle()
    assert harness.channels.publish_and_wait("lobby", "x", key="1") == Position("e", 7)


def test_two_callers_with_one_key_get_one_position(tmp_path: Path) -> None:
    history = Late()
    harness = build(CONF, tmp_path, history=history)
    callers = [gevent.spawn(harness.channels.publish_and_wait, "lobby", "x", key="1") for _ in range(2)]
    gevent.sleep(0)
    [done] = history.waiting
    done(Position("e", 7))
    assert [caller.get(timeout=5) for caller in callers] == [Position("e", 7)] * 2


def test_pages_in_both_directions(harness: Harness) -> None:
    for message in "abcdefgh":
        harness.channels.publish("lobby", message)
    top = page(harness, "lobby").top
    assert [one.message for one in page(harness, "lobby", limit=2).publications] == ["d", "e"]
    assert [one.message for one in page(harness, "lobby", limit=2, reverse=True).publications] == ["h", "g"]
    since = Position(top.epoch, 6)
    assert [one.message for one in page(harness, "lobby", since).publications] == ["g", "h"]
    assert [one.message for one in page(harness, "lobby", since, reverse=True).publications] == ["e", "d"]
    assert page(harness, "lobby", limit=0) == Page([], top, complete=True)


def test_a_page_at_an_impossible_position_is_not_complete(harness: Harness) -> None:
    harness.channels.publish("lobby", "x")
    for since in (Position("\ud800", 1), Position("x" * 1000, 1), Position("e", -1), Position("e", 10**30)):
        found = page(harness, "lobby", since)
        assert (list(found.publications), found.complete, found.top.offset) == ([], False, 1)


def test_a_page_of_a_channel_without_history_is_empty(harness: Harness) -> None:
    assert page(harness, "plain") == Page([], Position("", 0), complete=True)
    assert not page(harness, "plain", Position("e", 1)).complete


def test_a_removed_history_is_a_gap_for_who_returns_and_for_nobody_else(harness: Harness) -> None:
    member = harness.connect("/positions")
    for message in "xyz":
        harness.channels.publish("lobby", message)
    harness.channels.remove_history("lobby")
    harness.channels.remove_history("plain")
    harness.channels.publish("lobby", "next")
    assert [json.loads(text).get("offset") for text in harness.sent(member)] == [0, 1, 2, 3, 4]
    epoch = page(harness, "lobby").top.epoch
    for offset_, complete in ((2, False), (3, True)):
        assert page(harness, "lobby", Position(epoch, offset_)).complete is complete

"""How a server that drains dismisses its clients: what they have sent before they learn of it is not lost."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gevent
from gevent.event import Event

from tests.support import Harness, build
from tests.wire.octets import client_frame

SLOW = """
from fws import Filter


class Slow(Filter):
    def message(self, client, message):
        self.gate.wait()
"""
CLOSE = client_frame(8, b"\x03\xe9")
REASON = "the server is shutting down"


def room(tmp_path: Path) -> Harness:
    return build('[pipelines]\nconnect = ["join room"]\nmessage = ["broadcast room"]', tmp_path)


def written_to(harness: Harness, client: Any) -> bytes:
    return bytes(harness.peers[client].wire.written)


def test_what_has_been_read_is_answered_before_the_close(tmp_path: Path) -> None:
    """Fault: messages that waited behind a filter at work were dropped by the Close."""
    gate = Event()
    harness = build('[pipelines]\nmessage = ["slow", "echo"]', tmp_path, pipelines={"slow": SLOW})
    slow: Any = harness.generation.filters[0]
    slow.gate = gate
    client = harness.connect()
    harness.arrive(client, client_frame(1, b"one") + client_frame(1, b"two"))
    client.dismiss(1001, REASON)
    assert not client.closing
    assert written_to(harness, client) == b""
    gate.set()
    gevent.idle()
    harness.settle()
    assert written_to(harness, client) == b"\x81\x03one\x81\x03two\x88\x1d\x03\xe9" + REASON.encode()
    assert (client.close_code, client.close_reason) == (1001, REASON)


def test_what_was_sent_before_the_peer_learns_of_the_close_is_served_without_answers(tmp_path: Path) -> None:
    """Fault: a message that crossed the Close on its way was ignored, and its sender could not know."""
    harness = room(tmp_path)
    ann, bob = harness.connect(), harness.connect()
    ann.dismiss(1001, REASON)
    assert ann.closing
    assert not ann.send("more")
    written = written_to(harness, ann)
    harness.client_says(ann, "late")
    assert harness.sent(bob) == ["late"]
    assert written_to(harness, ann) == written
    harness.arrive(ann, CLOSE + client_frame(1, b"after the end"))
    assert harness.peers[ann].wire.ended
    assert harness.sent(bob) == []


def test_a_client_that_is_closed_for_another_reason_stays_unheard(tmp_path: Path) -> None:
    harness = room(tmp_path)
    ann, bob = harness.connect(), harness.connect()
    ann.close(1008, "no")
    ann.dismiss(1001, REASON)
    harness.client_says(ann, "late")
    assert harness.sent(bob) == []
    assert ann.close_code == 1008


def test_a_command_that_arrives_after_the_close_is_not_served_and_so_gets_no_reply(tmp_path: Path) -> None:
    conf = '[endpoints."/c"]\nprotocol = "centrifuge"\n[channels."room"]\nsubscribe = "true"\npublish = "true"'
    harness = build(conf.replace('"true"', "\"client.path == '/c'\""), tmp_path)
    ann = harness.connect("/c")
    harness.client_says(ann, '{"id":1,"connect":{}}')
    harness.client_says(ann, '{"id":2,"publish":{"channel":"room","data":1}}')
    assert harness.sent(ann)[-1] == '{"id":2,"publish":{}}'
    ann.dismiss(1001, REASON)
    written = written_to(harness, ann)
    harness.client_says(ann, '{"id":3,"publish":{"channel":"room","data":2}}')
    assert written_to(harness, ann) == written

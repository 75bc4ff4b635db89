"""The language of transcripts: statements, and mistakes with their lines."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fws.transcripts.language import (
    Closed,
    Connect,
    Leave,
    Nothing,
    Outcome,
    Publish,
    Receives,
    Say,
    Statement,
    Wait,
    parse_script,
)


def one(script: str) -> Statement:
    """The last statement of a script without mistakes."""
    statements, errors = parse_script(script)
    assert errors == []
    return statements[-1]


def test_a_connection_has_path_headers_token_and_node() -> None:
    line = 'ann@b> connect /chat?x=1 token=s3cret X-Room="a b" origin=https://x.example address=10.0.0.1 user=ann'
    statement = one(f'{line} claims=\'{{"role":"admin"}}\'')
    assert isinstance(statement, Connect)
    assert (statement.client, statement.node, statement.target) == ("ann", "b", "/chat?x=1")
    assert statement.headers == (("X-Room", "a b"), ("Origin", "https://x.example"))
    assert (statement.token, statement.address) == ("s3cret", "10.0.0.1")
    assert (statement.user, statement.claims) == ("ann", {"role": "admin"})


@pytest.mark.parametrize(
    ("line", "message", "times"),
    [
        ("ann> hello", "hello", 1),
        ("ann> hello x3", "hello", 3),
        ("ann> x3", "x3", 1),
        ("ann> hello x3 x1", "hello x3", 1),
        ("ann> bytes 00ff", b"\x00\xff", 1),
        ("ann> \\bytes", "bytes", 1),
        ("ann> \\close", "close", 1),
        ("ann> close the door", "close the door", 1),
        ("ann> connect /", "connect /", 1),
        ("ann>", "", 1),
    ],
)
def test_what_a_client_sends(line: str, message: str | bytes, times: int) -> None:
    statement = one(f"ann> connect /\n{line}")
    assert isinstance(statement, Say)
    assert (statement.message, statement.times) == (message, times)


def test_other_statements() -> None:
    script = """
# a comment
ann> connect /
ann< {"a":"#"} x2
ann< nothing
     drop /chat message/guard/json x3
wait 250ms
pub lobby {"a":1}
ann> close 1001 bye
ann< close 4001 go…
eve> connect /
eve< refuse 401
"""
    statements, errors = parse_script(script)
    assert errors == []
    receives, nothing, outcome, wait, publish, leave, closed, _, refused = statements[1:]
    assert isinstance(receives, Receives)
    assert (receives.times, receives.line) == (2, 4)
    assert isinstance(nothing, Nothing)
    assert isinstance(outcome, Outcome)
    assert (outcome.kind, outcome.path, outcome.stage, outcome.times) == ("drop", "/chat", "message/guard/json", 3)
    assert isinstance(wait, Wait)
    assert wait.seconds == 0.25
    assert isinstance(publish, Publish)
    assert (publish.channel, publish.message) == ("lobby", '{"a":1}')
    assert isinstance(leave, Leave)
    assert (leave.code, leave.reason) == (1001, "bye")
    assert isinstance(closed, Closed)
    assert (closed.code, str(closed.reason), closed.refused) == (4001, "go…", False)
    assert isinstance(refused, Closed)
    assert (refused.code, refused.reason, refused.refused) == (401, None, True)


def test_a_client_connects_again_after_its_connection_was_closed() -> None:
    script = "ann> connect /\nann< close 1000\nann> connect /again\nann> close\nann> connect /third"
    targets = [statement.target for statement in parse_script(script)[0] if isinstance(statement, Connect)]
    assert targets == ["/", "/again", "/third"]


@pytest.mark.parametrize(
    ("line", "message", "hint"),
    [
        ("hello", "'hello' is not a statement", "NAME>"),
        ("bob> hello", "bob is not connected", "write `bob> connect /` first"),
        ("ann@b> hello", "the node is named where the client connects", "write `ann> …`"),
        ("   dorp message", "'dorp' is not an outcome", "drop, error, close, refuse"),
        ("   drop message/x y", "'y' is too much", "write `drop EVENT/STAGE`"),
        ("wait 5", "'5' has no unit", ""),
        ("pub", "name a channel and a message", ""),
        ("ann<", "write what ann receives", ""),
        ("ann> bytes xyz", "after `bytes` come hexadecimal digits", ""),
        ("ann> hello x200000", "at most 100000 times", ""),
        ("bob> connect chat", "a path begins with /", ""),
        ("bob> connect /caf\u00e9", "visible ASCII", ""),
        ("bob> connect /a /b", "'/b' is not an argument", ""),
        ("bob> connect / claims=[1]", "claims are a JSON object", ""),
        ("bob> connect / claims={", "claims are a JSON object", ""),
        # The decoder of JSON raises RecursionError.
        pytest.param(f"bob> connect / claims={'[' * 100_000}", "claims are a JSON object", "", id="deep claims"),
        # This was a traceback when the transcript was played.
        ("ann> close 9999", "no client may close with 9999", "1000-1003"),
    ],
)
def test_mistakes_have_a_line_and_say_what_would_be_right(line: str, message: str, hint: str) -> None:
    _, errors = parse_script(f"ann> connect /\n\n{line}")
    assert [error.line for error in errors] == [3]
    assert message in errors[0].message
    assert hint in errors[0].hint


def test_all_mistakes_are_found() -> None:
    assert [error.line for error in parse_script("x\nann> connect /\ny\nz")[1]] == [1, 3, 4]


def test_nothing_can_be_expected_before_anything_has_happened() -> None:
    assert "nothing has happened yet" in parse_script("ann< hello")[1][0].message


@given(st.text() | st.text(alphabet="ann><@ connect/x1wait pub\n\\drop…\"'={}"))
def test_no_script_raises(script: str) -> None:
    statements, errors = parse_script(script)
    lines = len(script.split("\n"))
    places = [*(one.line for one in statements), *(one.line for one in errors)]
    assert all(1 <= line <= lines for line in places)

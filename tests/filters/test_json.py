from __future__ import annotations

from pathlib import Path

import pytest

from tests.support import build

BAD = ["", "{", "nope", "'a'", "{'a': 1}", '{"a": 1} x', "NaN", "1e999", "1" * 5000, '"\\ud800"', b"\xff", b'"\xff"']
DEEP = ["[" * 101 + "]" * 101, '{"a":' * 101 + "1" + "}" * 101, "[" * 900 + "]" * 900, "[" * 400_000]


def test_text_and_binary_become_values(tmp_path: Path) -> None:
    server = build('[pipelines]\nmessage = ["json", "echo"]', tmp_path)
    client = server.connect()
    server.client_says(client, '{"a": [1, 2.5, "x", null, true]}', b" [1] ", '"text"', "null")
    assert server.sent(client) == ['{"a":[1,2.5,"x",null,true]}', "[1]", "text", "null"]


def test_decoding_twice_decodes_once(tmp_path: Path) -> None:
    server = build('[pipelines]\nmessage = ["json", "json", "echo"]', tmp_path)
    client = server.connect()
    server.client_says(client, "[1]")
    assert server.sent(client) == ["[1]"]


@pytest.mark.parametrize("bad", [*BAD, *DEEP], ids=range(len(BAD + DEEP)))
def test_a_message_that_is_not_json_is_dropped(tmp_path: Path, bad: str | bytes) -> None:
    server = build('[pipelines]\nmessage = ["json", "echo"]', tmp_path)
    client = server.connect()
    server.client_says(client, bad, "1")
    assert server.sent(client) == ["1"]
    assert (server.faults, server.metrics["json_refused"]) == (0, 1)


def test_or_answered(tmp_path: Path) -> None:
    server = build('[pipelines]\nmessage = ["json on_error=reply", "echo"]', tmp_path)
    client = server.connect()
    server.client_says(client, "nope", DEEP[0], "1")
    assert server.sent(client) == ['{"error":"this is not JSON"}', '{"error":"this JSON is nested too deep"}', "1"]


def test_or_closes_the_connection(tmp_path: Path) -> None:
    server = build('[pipelines]\nmessage = ["json on_error=close", "echo"]', tmp_path)
    client = server.connect()
    server.client_says(client, "nope")
    assert server.closed(client) == (1007, "this is not JSON")


@pytest.mark.parametrize("text", ["[" * 100 + "]" * 100, "[" + "[]," * 500 + "[]]", '"' + "[" * 5000 + '"'])
def test_a_hundred_levels_and_any_number_of_brackets_are_no_depth(tmp_path: Path, text: str) -> None:
    server = build('[pipelines]\nmessage = ["json", "text", "echo"]', tmp_path)
    client = server.connect()
    server.client_says(client, text)
    assert server.sent(client) in ([text], [text.strip('"')])


@pytest.mark.parametrize(
    ("sent", "shown"),
    [
        (r'"\ud83d"', "�"),
        (r'"a\udc4db"', "a�b"),
        (r'{"a":"\ud83d\ud83d\udc4d"}', '{"a":"�👍"}'),
        (r'"\ud83d\udc4d"', "👍"),
        (r'"\\ud83d"', r"\ud83d"),
    ],
)
def test_half_of_an_emoji_can_be_replaced(sent: str, shown: str, tmp_path: Path) -> None:
    """Fault: a text that JavaScript had cut in the middle of an emoji was dropped as "no JSON"."""
    server = build('[pipelines]\nmessage = ["json surrogates=replace", "echo"]', tmp_path)
    client = server.connect()
    server.client_says(client, sent)
    assert server.sent(client) == [shown]


def test_half_of_an_emoji_is_refused_with_the_reason(tmp_path: Path) -> None:
    server = build('[pipelines]\nmessage = ["json on_error=reply", "echo"]', tmp_path)
    client = server.connect()
    server.client_says(client, r'"\ud83d"', r'"\ud83d" x')
    half, other = "this JSON has half of a character: an emoji was cut", "this is not JSON"
    assert server.sent(client) == [f'{{"error":"{half}"}}', f'{{"error":"{other}"}}']
    assert server.metrics["json_refused"] == 2

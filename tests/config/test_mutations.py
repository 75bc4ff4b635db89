"""Any file gives a configuration, or problems with places, and never a traceback."""

from __future__ import annotations

import codecs

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fws.base.errors import ConfigError
from fws.config import load, parse, read
from tests.fuzz import checks

CHAT = """\
# A chat: one room, nicknames, who is here.
[server]
listen = "${FWS_LISTEN:-127.0.0.1:9000}"  # PORT wins
static = "chat"
drain = "30s"

[pipelines]
connect    = ["join lobby", "chat.welcome"]
message    = ["rate_limit 20/s burst=40", "max_message 4KiB", "chat.commands", "broadcast lobby"]
disconnect = ["chat.farewell"]
"""

ROOMS = """\
[redis]
url = "${REDIS_URL:-}"

[endpoints."/rooms/{room}"]
origins = ["https://example.org"]
max_message = "64KiB"
connect = ["join room:{room}"]
message = ["guard", "set room={room} from={id} at={time}", "by_type"]

[endpoints."/rooms/{room}/quiet"]   # hears the room
compression = true
message = [
  "guard", # it's first
  'reply {"error":"busy"}',
]

[chains]
guard = ["rate_limit 10/s burst=20", "json on_error=reply"]

[filters.by_type]
use = "switch"
key = "type"
default = ["reply \\"unknown type\\""]
[filters.by_type.case]
chat = ["broadcast {room}"]

[channels."chat:*"]
history = 100
"""

ODD = """\
a.b."c d" = {x = 1, y = [1, 2]}
when = 2020-01-02T03:04:05Z
[[many]]
text = \"\"\"
one
two\\
  three\"\"\"
[[many]]
number = -1_000.5e3
[many.sub]
'q"' = 0xFF
"""

NASTY = (
    *('"""', "'''", "'", '"', "[", "]", "[[", "{", "}", "=", ",", ".", "#", "\\", "\\u0000", "\\uD800"),
    *("${", "${X}", "${X:-", "{room}", "\r", "\r\n", "\0", "\ufeff", "\u2028", "é", "\U0001f600"),
    *("nan", "-0", "1e999", "9" * 30, "0x", "true", "2020-13-45", "[{a=1}, 'b']", "{a = {b = [{c = 1}]}}"),
    *('["it\'s", {x="y"}]', "[pipelines]", "[server]\n", "\n[chains]\n", "\n[filters.x]\nuse = 'x'\n"),
    *("\n[endpoints.'/{a}']\n", "a.b.c = 1\n", "[" * 30, "{a=" * 30, '"\\""', "[',', 'x']"),
)


@st.composite
def _mutated(draw: st.DrawFn) -> str:
    text = draw(st.sampled_from([CHAT, ROOMS, ODD, CHAT + ROOMS, CHAT.replace("\n", "\r\n")]))
    for _ in range(draw(st.integers(1, 5))):
        lines = text.splitlines(keepends=True)
        position = draw(st.integers(0, len(text)))
        end = min(len(text), position + draw(st.integers(0, 12)))
        one, other = (draw(st.integers(0, max(0, len(lines) - 1))) for _ in range(2))
        match draw(st.sampled_from(["delete", "insert", "repeat", "cut", "swap", "copy", "drop", "random"])):
            case "delete":
                text = text[:position] + text[end:]
            case "insert":
                text = text[:position] + draw(st.sampled_from(NASTY)) + text[position:]
            case "repeat":
                text = text[:end] + text[position:end] * draw(st.integers(1, 5)) + text[end:]
            case "cut":
                text = text[:position]
            case "random":
                text = text[:position] + draw(st.text(max_size=5)) + text[end:]
            case "swap" if lines:
                lines[one], lines[other] = lines[other], lines[one]
                text = "".join(lines)
            case "copy" if lines:
                text = "".join([*lines[:one], lines[other], *lines[one:]])
            case "drop" if lines:
                text = "".join(lines[:one] + lines[one + 1 :])
    return text


@given(_mutated())
@settings(max_examples=1200, deadline=None)
def test_a_mutated_file_gives_a_configuration_or_problems(text: str) -> None:
    checks.text_of_toml(text)


@given(st.binary(max_size=80) | _mutated().map(lambda text: text.encode("utf-8", "surrogatepass")[:-1]))
@settings(max_examples=200, deadline=None)
def test_a_file_of_any_bytes_is_read_or_refused(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    file = tmp_path_factory.getbasetemp() / "any.toml"
    file.write_bytes(data)
    try:
        source = load(file).source
    except ConfigError:
        return
    encoding = "utf-16" if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) else "utf-8-sig"
    # Line ends, and Ctrl-Z at the end of the file, may change; nothing else does.
    assert "".join(source.text.split()) == "".join(data.decode(encoding).removesuffix("\x1a").split())


def test_the_texts_that_are_mutated_are_sound() -> None:
    for text in (CHAT, ROOMS, CHAT + ROOMS.replace("[redis]", "[redis] # c")):
        assert read(parse(text, "conf.toml"), {})[1] == []
    assert parse(ODD, "conf.toml").tree["many"][0]["text"] == "one\ntwothree"

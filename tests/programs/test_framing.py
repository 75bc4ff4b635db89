from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fws.base.errors import ProgramError
from fws.programs.framing import Framing, Json, Lengths, Lines, Splitter, Unsuitable, Whole


def messages(framing: Framing, *pieces: bytes, most: int = 100) -> list[bytes]:
    splitter = Splitter(framing, most)
    found = []
    for piece in pieces:
        splitter.add(piece)
        while (message := splitter.take()) is not None:
            found.append(message)
    return found


@pytest.mark.parametrize(
    ("framing", "message", "written"),
    [
        (Lines(), "hello", b"hello\n"),
        (Lines(), "", b"\n"),
        (Lines(), {"a": "line\nbreak"}, b'{"a":"line\\nbreak"}\n'),
        (Json(), "two\nlines", b'"two\\nlines"\n'),
        (Json(), [1, None], b"[1,null]\n"),
        (Lengths(), "é", b"\0\0\0\2\xc3\xa9"),
        (Lengths(), b"\xff\n", b"\0\0\0\2\xff\n"),
        (Whole(), "two\nlines", b"two\nlines\n"),
        (Whole(), "a line\n", b"a line\n"),
        (Whole(), b"\xff", b"\xff"),
    ],
)
def test_what_a_program_reads(framing: Framing, message: Any, written: bytes) -> None:
    assert framing.encode(message) == written


@pytest.mark.parametrize(
    ("framing", "message"),
    [
        (Lines(), "two\nlines"),
        (Lines(), b"binary"),
        (Lines(), "a\rb"),
        (Lines(), "half \ud83d"),
        (Json(), b"binary"),
        (Json(), object()),
        (Lengths(), "half \ud83d"),
        (Whole(), {1j: 1}),
    ],
)
def test_what_a_program_cannot_read_is_the_clients_fault(framing: Framing, message: Any) -> None:
    with pytest.raises(Unsuitable, match=r"^[A-Z].*\.$"):
        framing.encode(message)


def test_what_a_program_writes_is_an_answer_of_the_kind_of_its_question() -> None:
    assert Lines().decode("né".encode(), "x") == "né"
    assert Json().decode(b'{"a":1}', None) == {"a": 1}
    assert Lengths().decode(b"abc", "text") == "abc"
    assert Lengths().decode(b"abc", b"binary") == b"abc"
    assert Lengths().decode(b"abc", None) == b"abc"
    assert Whole().decode(b"3\n", "one two three") == "3"
    assert Whole().decode(b"a\nb\n\n", "x") == "a\nb\n"


@pytest.mark.parametrize(
    ("framing", "written"),
    [(Lines(), b"\xff"), (Json(), b"no JSON"), (Json(), b"[" * 2000), (Lengths(), b"\xff"), (Whole(), b"\xff\n")],
)
def test_nonsense_is_the_programs_fault(framing: Framing, written: bytes) -> None:
    with pytest.raises(ProgramError):
        framing.decode(written, "a text")


@pytest.mark.parametrize("framing", [Lines(), Json()])
def test_lines_are_cut_at_line_feeds_only(framing: Framing) -> None:
    assert messages(framing, b"a\r\nb\n\nc") == [b"a\r", b"b", b""]


@pytest.mark.parametrize("make", [Lines, Json, Lengths])
@given(
    sent=st.lists(st.text(st.characters(codec="utf-8", exclude_characters="\r\n"), max_size=20)), cut=st.integers(1, 9)
)
def test_messages_survive_any_cut(make: Callable[[], Framing], sent: list[str], cut: int) -> None:
    framing = make()
    data = b"".join(map(framing.encode, sent))
    pieces = [data[at : at + cut] for at in range(0, len(data), cut)]
    assert [framing.decode(one, "") for one in messages(framing, *pieces)] == sent


@pytest.mark.parametrize(
    ("framing", "written"),
    [
        (Lines(), b"x" * 101),
        (Lines(), b"x" * 101 + b"\n"),
        (Lengths(), b"\0\0\0\x65"),
        (Lengths(), b"\xff\xff\xff\xff"),
        (Whole(), b"x" * 101),
    ],
)
def test_a_message_that_is_too_large_is_noticed_as_soon_as_possible(framing: Framing, written: bytes) -> None:
    with pytest.raises(ProgramError, match="more than 100 bytes"):
        messages(framing, written)


def test_half_a_message_at_the_end_is_none() -> None:
    splitter = Splitter(Lines(), 100)
    splitter.add(b"a\nhalf")
    assert splitter.take() == b"a"
    assert splitter.take() is None
    assert splitter.rest() == b"half"

"""A problem is printed like a compiler's error, and cannot control the terminal."""

from __future__ import annotations

import pytest

from fws.base.problem import Place, Problem, did_you_mean, dotted


def test_a_placed_problem_shows_line_caret_and_hint() -> None:
    place = Place("conf.toml", 4, 9, "drain = 30")
    assert str(Problem("expected a duration", ("server", "drain"), 0, 'write "30s"', place)).splitlines() == [
        "conf.toml:4:9: expected a duration",
        "    drain = 30",
        "            ^",
        '    write "30s"',
    ]


def test_a_problem_of_the_whole_file_has_no_excerpt() -> None:
    assert str(Problem("cannot be read", place=Place("conf.toml"))) == "conf.toml: cannot be read"


def test_a_problem_without_a_place_tells_the_way_to_it() -> None:
    assert str(Problem("wrong", ("chains", "guard", 0))) == "chains.guard[1]: wrong"
    assert str(Problem("wrong")) == "wrong"


def test_of_a_long_line_the_part_around_the_column_is_shown() -> None:
    line = "x" * 5000 + "HERE" + "y" * 5000
    head, excerpt, caret = str(Problem("wrong", place=Place("f", 1, 5001, line))).splitlines()
    assert head == "f:1:5001: wrong"
    assert len(excerpt) < 120
    assert excerpt[caret.index("^") :].startswith("HERE")


def test_a_caret_behind_the_line_stays_near_it() -> None:
    assert str(Problem("wrong", place=Place("f", 1, 99, "ab"))).splitlines()[-1] == "      ^"


def test_a_tab_counts_as_one_column() -> None:
    assert str(Problem("wrong", place=Place("f", 1, 2, "\tab"))).splitlines()[1:] == ["     ab", "     ^"]


def test_control_characters_of_a_file_do_not_reach_the_terminal() -> None:
    """Fault: a key with an escape sequence could clear the screen of the person who checks the file."""
    place = Place("\x1b.toml", 1, 1, "\x1b[2J")
    shown = str(Problem("unknown key '\x1b[2J'", hint="\x07 \udc80", place=place))
    assert "".join(shown.split("\n")).isprintable()
    assert "\\x1b[2J" in shown


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ((), ""),
        (("server",), "server"),
        (("endpoints", "/a/{b}", "message", 2), 'endpoints."/a/{b}".message[3]'),
        (("filters", "by-type", "case", "a b"), 'filters.by-type.case."a b"'),
        (("a", ""), 'a.""'),
    ],
)
def test_a_path_is_written_as_toml_does(path: tuple[str | int, ...], text: str) -> None:
    assert dotted(path) == text


def test_the_nearest_word_is_offered_or_all_when_few() -> None:
    assert did_you_mean("mesage", ["message", "connect"]) == "did you mean 'message'?"
    assert did_you_mean("zzz", ["b", "a", "a"]) == "known: a, b"
    assert did_you_mean("zzz", [str(number) for number in range(13)]) == ""
    assert did_you_mean("zzz", []) == ""


@pytest.mark.parametrize(
    "text",
    [
        'url = "http://secret:hunter2@x"',
        'url = "redis://:hunter2@x:6379/0", lissen = 1',
        'url = "rediss://me:a@hunter2/b@x"',
        "x" * 80 + "redis://:hunter2" + "y" * 200 + "@x",
    ],
)
def test_the_password_of_a_url_is_not_shown(text: str) -> None:
    """Fault: the line with an invalid Redis address was printed unchanged, with its password, into a platform's log."""
    told = str(Problem("this is no address of Redis", place=Place("conf.toml", 7, 7, text)))
    assert "hunter2" not in told
    assert "*******" in told
    assert told.splitlines()[2] == " " * 10 + "^"
    assert "hunter2" not in str(Problem("cannot read 'redis://:hunter2@x'"))

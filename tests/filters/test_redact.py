from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fws.base.errors import ConfigError
from fws.filters._masking import Left, is_card, mask_cards, mask_emails
from fws.filters.redact import Redact
from fws.pipeline.component import Setting
from fws.pipeline.outcomes import DROP
from fws.pipeline.publication import Publication
from tests.support import build


def redact(**options: Any) -> Redact:
    made = Redact(**options)
    made.prepare(Setting(Path(), {}))
    return made


def changed(value: Any, **options: Any) -> Any:
    """What flows on. The value itself is never changed, because others may have it as well."""
    before = json.dumps(value)
    flowing = redact(**options).change(value)
    assert json.dumps(value) == before
    return value if flowing is None else flowing


@pytest.mark.parametrize(
    ("fields", "value", "flowing"),
    [
        (["password"], {"user": "ann", "password": "x"}, {"user": "ann", "password": "***"}),
        (["card.number"], {"card": {"number": 5, "name": "a"}}, {"card": {"number": "***", "name": "a"}}),
        (["card.number"], {"card": "4111"}, {"card": "***"}),
        (["card.number"], {"card": None, "number": 1}, {"card": None, "number": 1}),
        (["items.key"], {"items": [{"key": 1}, {"key": [2]}, {}]}, {"items": [{"key": "***"}, {"key": "***"}, {}]}),
        (["key"], [{"key": 1}, 5], [{"key": "***"}, 5]),
        (["a", "b"], {"a": {"x": 1}, "b": None}, {"a": "***", "b": "***"}),
        (["a.b.c"], {"a": {"b": {"c": 1, "d": 2}}}, {"a": {"b": {"c": "***", "d": 2}}}),
        (["a"], 5, 5),
    ],
)
def test_fields_are_masked(fields: list[str], value: Any, flowing: Any) -> None:
    assert changed(value, fields=fields) == flowing


def test_what_is_not_changed_is_the_same_object() -> None:
    value = {"a": [{"b": "x"}], "c": {"d": "ann@example.org"}}
    assert redact(fields=["z"], find=["card"]).change(value) is None
    flowing = redact(find=["email"]).change(value)
    assert flowing == {"a": [{"b": "x"}], "c": {"d": "***"}}
    assert flowing["a"] is value["a"]


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("write to ann.b+c@mail.example.org, now", "write to *, now"),
        ("<ann@example.org>;bob@example.co.uk", "<*>;*"),
        ("é.ü@bücher.example", "*"),
        ("a" * 100 + "@example.org", "*"),
        ("a@b @x.y a@ @", "a@b @x.y a@ @"),
        ("a@b.c@d.e", "*@d.e"),
    ],
)
def test_addresses_are_found(text: str, masked: str) -> None:
    assert mask_emails(text, "*", Left(0)) == masked


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("4111111111111111", "*"),
        ("pay 4111 1111 1111 1111 now", "pay * now"),
        ("5500-0000-0000-0004,340000000000009", "*,*"),
        ("no. 12 4111 1111 1111 1111 9", "no. 12 * 9"),
        ("4111111111111112", "4111111111111112"),
        ("tel. 0049 89 1234567890", "tel. 0049 89 1234567890"),
        ("41111111111111110000000", "41111111111111110000000"),
        ("4111 1111 1111 1111 4111 1111 1111 1111", "* *"),
        ("1 2 3", "1 2 3"),
    ],
)
def test_card_numbers_are_found(text: str, masked: str) -> None:
    assert mask_cards(text, "*", Left(0)) == masked


def test_a_card_number_may_be_a_number() -> None:
    value = {"n": 4111111111111111, "m": 4111111111111112, "t": True, "big": 10**40}
    assert changed(value, find=["card"]) == value | {"n": "***"}
    assert is_card("9999999999999999998")
    assert changed([9999999999999999998], find=["card"]) == ["***"], "it has more than 63 bits"


@given(st.text("0123456789", min_size=12, max_size=18))
def test_a_wrong_digit_is_no_card_number(digits: str) -> None:
    assert [is_card(digits + last) for last in "0123456789"].count(True) == 1


def test_a_pattern_is_found_in_all_texts() -> None:
    value = {"a": ["key-123", 5], "key-1": {"b": "x key-7 y"}, "c": "none"}
    flowing = {"a": ["\\1", 5], "key-1": {"b": "x \\1 y"}, "c": "none"}
    assert changed(value, pattern=r"key-\d++", mask="\\1") == flowing


@pytest.mark.parametrize(
    ("value", "options"), [(b"x", {"find": ["email"]}), ("text", {"fields": ["a"]}), (b"{}", {"fields": ["a"]})]
)
def test_what_cannot_be_redacted_is_dropped(value: Any, options: Any) -> None:
    assert redact(**options).change(value) is DROP


def test_a_text_without_json_is_searched() -> None:
    assert changed("ann@example.org", find=["email"]) == "***"


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ("", "give fields, find or pattern"),
        ("find=phone", "one of: email, card"),
        ("pattern=(", "not a regular expression"),
        ("pattern=a*", "matches an empty text"),
        ("pattern=(a+)+b", r"write \++ instead of \+"),
        ("pattern=(a|aa)+b", r"write \++ instead of \+"),
        ("pattern=[a]{2,}", r"write \{2,}\+ instead of \{2,}"),
        ("pattern=(?:a|aa){30}b", r"write \{30}\+ instead of \{30}"),
        (r"pattern=\\*b", r"write \*\+ instead"),
        ("pattern=a*?b", r"write \*\+ instead of \*\?"),
        ('pattern="(?x)(?:a|a) {25}b"', "the flag x is not for this option"),
        ('pattern="(?xi)a b"', "the flag x is not for this option"),
        ('pattern="a(?x: b)"', "the flag x is not for this option"),
        ("pattern=(?=(?:a|ab){25}c)a", r"write \{25}\+ instead of \{25}"),
        ("pattern=(a)(?(1)(?:b|bc){25}|d)", r"write \{25}\+ instead"),
        ("pattern=" + "a?" * 30 + "a" * 30, "too many ways"),
        ("pattern=" + "(?:a|ab)" * 30 + "c", "too many ways"),
        ("pattern=" + "a?" * 5 + "[^b]++c", "too many ways"),
        ("pattern=(?:a++b|a)++c", "a repeat contains alternatives"),
        ("pattern=(?:(?:a++b)?+a)++c", "a repeat contains alternatives"),
        ("pattern=(?:a(?!.*+b))++c", "a repeat contains alternatives"),
        ("pattern=(?:(?:a++b)*+a)++c", "a repeat contains alternatives"),
        (r"pattern=(a++)(?:\1|a)++c", "a repeat contains alternatives"),
        ("pattern=(?:a?a++b|a)++c", "a repeat contains alternatives"),
        ("pattern=(?=a)", "matches an empty text"),
    ],
)
def test_a_stage_that_masks_nothing_or_takes_for_ever_is_a_mistake(tmp_path: Path, options: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        build(f"[pipelines]\nmessage = ['redact {options}']", tmp_path)


@pytest.mark.parametrize(
    "pattern",
    [
        *(
            "a++b*+c",
            "(ab)++",
            "[(+|)*]x",
            r"\(a\+\*",
            "[]a)+]b?",
            r"(?:\+ab){2}+",
            r"\d{2}",
            "(?#*)a{1,2}+",
            "(?:ab){3}",
        ),
        *(r"\w++@\w++(?:\.\w++)++", "(?i)(?:red|green|blue) (?:car|bike)s?", r"(?s:(['\"])[^'\"]++\1)"),
        *(r"(?:\w++\s?)++!", r"(?<!\w)(?:sk|pk)_(?:live|test)_[0-9a-zA-Z]{24,}+", r"eyJ[\w-]++(?:\.[\w-]++){2}+"),
    ],
)
def test_other_patterns_are_fine(pattern: str) -> None:
    redact(pattern=pattern)


def test_a_publication_is_redacted_before_it_is_kept(tmp_path: Path) -> None:
    toml = """
    [channels.lobby]
    history = 10
    [pipelines]
    connect = ["join lobby"]
    message = ["json", "broadcast lobby"]
    publication = ["redact password"]
    """
    server = build(toml, tmp_path)
    client = server.connect()
    server.client_says(client, '{"password":"secret"}')
    assert "secret" not in str(server.sent(client))
    server.client_says(late := server.connect(), "{}")
    late.join("lobby", replay=5)
    assert "secret" not in str(server.sent(late))


def test_a_delivery_is_redacted_for_its_receiver_alone() -> None:
    publication = Publication("lobby", {"password": "x"})
    found = redact(fields=["password"]).deliver(None, publication)  # type: ignore[arg-type]
    assert found.message == {"password": "***"}
    assert publication.message == {"password": "x"}


HOSTILE = [
    "a" * 65_000,
    "a@" * 32_000,
    "a@" + "b" * 65_000,
    "a@" + "b." * 32_000,
    "1" * 65_000,
    "1 " * 32_000,
    "1-11 " * 13_000,
    "@." * 32_000,
    "4111111111111111 " * 3_800,
]


@pytest.mark.parametrize("number", range(len(HOSTILE)))
def test_no_text_of_64_kib_takes_long(number: int) -> None:
    made = redact(find=["email", "card"], pattern=r"\w++\s?\w++!")
    before = time.process_time()
    made.change({"a": HOSTILE[number]})
    made.change(["a" * 4000, *[HOSTILE[number][:4000]] * 16])
    redact(find=["email", "card"]).change([HOSTILE[number]])
    assert time.process_time() - before < 0.5


UNITS = ["1 ", "1-", "12 ", "411 ", "4111-", "1234567890123 123 123 ", "4111111111111111 ", "123 456 789 123 4\n"]
UNITS += ["7 123 1234 12345 ", "1234567890123456789 ", "a@", "a.", "@", "a@b.c ", "a@b.", "é@é."]


@pytest.mark.parametrize("unit", UNITS)
def test_no_text_of_a_megabyte_holds_up_the_loop(unit: str) -> None:
    """Fault: each group of digits was the begin of a number to be examined, and groups of three took 1.8 s."""
    made = redact(find=["email", "card"])
    before = time.process_time()
    made.change({"a": unit * (1_000_000 // len(unit))})
    made.change([unit] * (300_000 // len(unit)))
    assert time.process_time() - before < 0.35


@pytest.mark.parametrize("item", ["", "1", "a@b", 1, 1.5, 4111111111111112])
def test_no_list_of_a_megabyte_holds_up_the_loop(item: Any) -> None:
    made = redact(find=["email", "card"])
    before = time.process_time()
    made.change([item] * (1_000_000 // (len(json.dumps(item)) + 1)))
    assert time.process_time() - before < 0.25


def test_groups_that_are_not_examined_are_masked() -> None:
    """A card number behind many other numbers must not pass."""
    many, card = "4111 1111 1111 1112\n" * 2500, "4111 1111 1111 1111"
    value = [many, "x", card, "1234 5678 9012 3456", 4111111111111112, 5]
    assert changed(value, find=["card"]) == [many, "x", "***", "***", "***", 5]
    assert changed([many + card, "no number"], find=["card"]) == ["***", "no number"]


def test_a_card_number_among_other_groups_is_found() -> None:
    for before in ("", "123 ", "123 4567 ", "99999999999999999999 "):
        for after in ("", " 123", "-12345678901234567890"):
            text = f"{before}4111 1111-1111 1111{after}"
            assert mask_cards(text, "*", Left(0)) == f"{before}*{after}"


def test_what_a_pattern_does_not_search_is_masked() -> None:
    assert changed(["abc", "abcdef", "x"], pattern="b", max_text=5, mask="*") == ["a*c", "*", "*"]


def test_a_stage_names_fields_first(tmp_path: Path) -> None:
    server = build('[pipelines]\nmessage = ["json", "redact a b.c find=email,card mask=…", "echo"]', tmp_path)
    client = server.connect()
    server.client_says(client, '{"a":1,"b":{"c":2},"d":"x@y.org","e":"4111 1111 1111 1111"}')
    assert msgspec.json.decode(server.sent(client)[0]) == {"a": "…", "b": {"c": "…"}, "d": "…", "e": "…"}


@pytest.mark.parametrize("number", [-4111111111111111, -1234567890123456, -123456789012])
def test_a_negative_number_is_searched_without_its_sign(number: int) -> None:
    left = "***" if is_card(str(-number)) else number
    assert redact(find=["card"]).message(None, {"a": number}) == (None if left == number else {"a": left})  # type: ignore[arg-type]


@pytest.mark.parametrize("number", [4111111111111111.0, -4111111111111111.0, 4111111111111111.5])
def test_a_card_number_may_have_a_fraction(number: float) -> None:
    """Fault: `4111111111111111.0` passed, because only integers were examined."""
    assert changed([number, 1.5, 4111111111111112.0], find=["card"]) == ["***", 1.5, 4111111111111112.0]


def test_a_large_float_has_the_digits_that_json_shows() -> None:
    assert is_card("6011000990139428000")
    assert int(float("6011000990139428000")) != int("6011000990139428000")
    assert changed([float("6011000990139428000")], find=["card"]) == ["***"]


def test_other_numbers_with_a_fraction_flow_on() -> None:
    value = [float("inf"), float("nan"), 1e300, -1e-300, 0.4111111111111111]
    assert redact(find=["card"]).change(value) is None

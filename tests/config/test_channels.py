"""Patterns of `[channels]`: what they match, which one applies, and which two contradict each other."""

from __future__ import annotations

import re
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fws.config.channels import REMEMBERED, Channel, ChannelPattern, ChannelRules


@pytest.mark.parametrize(
    ("pattern", "matching", "others"),
    [
        ("lobby", ["lobby"], ["lobby2", "", "Lobby"]),
        ("chat:{room}", ["chat:tea", "chat:a b", "chat:a/b.c"], ["chat:", "chat:tea:archive", "chat", "xchat:tea"]),
        ("{kind}:{id}", ["a:b"], ["a", "a:", ":b", "a:b:c"]),
        ("user:{id}:*", ["user:7:", "user:7:orders:1"], ["user:7", "user::x"]),
        ("*", ["a", "a:b:c"], []),
        ("a.b+c", ["a.b+c"], ["axb+c", "a.bbc"]),
        # Braces choose the slot of a key in a Redis Cluster.
        ("*", [], ["a{b}", "{", "a}"]),
        ("chat:{room}", [], ["chat:{x}"]),
    ],
)
def test_a_pattern_matches_whole_names(pattern: str, matching: list[str], others: list[str]) -> None:
    rules = ChannelRules({pattern: Channel()})
    assert [name for name in matching + others if rules.of(name) is not None] == matching


def test_names_have_the_parts_that_they_match() -> None:
    rule = ChannelRules({"chat:{room}:{user}": Channel()}).of("chat:tea:ann")
    assert rule is not None
    assert rule.values("chat:tea:ann") == {"room": "tea", "user": "ann"}
    assert rule.pattern.names == ("room", "user")


@pytest.mark.parametrize(
    ("pattern", "words"),
    [
        ("", "not empty"),
        ("a*b", "at the end only"),
        ("**", "at the end only"),
        ("{Room}", "between { and }"),
        ("{room", "between { and }"),
        ("a}", "the character '}'"),
        ("{a}{b}", "some text between"),
        ("{a}:{a}", "appears twice"),
        ("a?", "the character '?'"),
        ("a\x07b", "control characters"),
        ("{channel}", "choose another name"),
        ("a" * 201, "at most 200 bytes"),
    ],
)
def test_mistakes_say_what_would_be_right(pattern: str, words: str) -> None:
    with pytest.raises(ValueError, match=re.escape(words)):
        ChannelPattern.parse(pattern)


def test_the_most_specific_pattern_applies_as_a_whole() -> None:
    texts = ["*", "chat:*", "chat:{room}", "chat:tea", "chat:{room}:log", "{kind}:{id}"]
    rules = ChannelRules({text: Channel(history=number) for number, text in enumerate(texts)})
    names = ["other", "chat:a:b", "chat:green", "chat:tea", "chat:green:log", "news:1"]
    applied = [rule.pattern.text for name in names if (rule := rules.of(name)) is not None]
    assert applied == texts
    assert not list(rules.conflicts())


@pytest.mark.parametrize(
    ("one", "other", "conflict"),
    [
        ("a:{x}", "{x}:b", True),
        ("a:{x}", "b:{x}", False),
        ("chat:{x}", "chat:{y}", True),
        ("chat:{x}", "chat:*", False),  # {name} is more specific
        ("ab*", "a{x}c", False),
        ("{x}a", "a{x}", True),
        ("{x}:1", "a{x}b", False),
        ("a{x}:b", "a:b*", False),
        ("a{x}:b*", "ac:*", True),
    ],
)
def test_two_patterns_conflict_if_neither_is_more_specific(one: str, other: str, *, conflict: bool) -> None:
    rules = ChannelRules({one: Channel(), other: Channel()})
    assert bool(list(rules.conflicts())) is conflict


parts = st.lists(st.sampled_from(["a", "b", ":", "{x}", "*"]), min_size=1, max_size=5)


def readable(pieces: list[str]) -> ChannelPattern | None:
    number = 0
    text = ""
    for piece in pieces:
        if piece == "{x}":
            number += 1
            piece = f"{{x{number}}}"
        text += piece
    try:
        return ChannelPattern.parse(text)
    except ValueError:
        return None


@given(parts, parts, st.text("ab:c", max_size=6))
def test_patterns_that_match_the_same_name_overlap(one: list[str], other: list[str], name: str) -> None:
    first, second = readable(one), readable(other)
    if first is None or second is None:
        return
    if first.expression.fullmatch(name) and second.expression.fullmatch(name):
        assert first.overlaps(second)
        assert second.overlaps(first)


@given(parts, parts)
def test_patterns_overlap_only_if_a_short_name_matches_both(one: list[str], other: list[str]) -> None:
    """Five parts need no more than ten characters, so that all names up to some length can be tried."""
    first, second = readable(one[:3]), readable(other[:3])
    if first is None or second is None:
        return
    names = ("".join(chars) for size in range(7) for chars in product("ab:", repeat=size))
    found = any(first.expression.fullmatch(name) and second.expression.fullmatch(name) for name in names)
    assert first.overlaps(second) is found


def test_the_remembered_names_are_bounded() -> None:
    """Clients can choose names."""
    rules = ChannelRules({"a:*": Channel()})
    for number in range(REMEMBERED + 5):
        rules.of(f"b:{number}")
    assert len(rules._known) <= REMEMBERED

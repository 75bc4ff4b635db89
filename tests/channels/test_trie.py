"""Patterns that clients subscribe to."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fws.channels.trie import Trie, check_pattern

part = st.sampled_from(["a", "b", "c"])
name = st.lists(part, min_size=1, max_size=4).map(":".join)
pattern = st.lists(st.sampled_from(["a", "b", "*"]), min_size=1, max_size=4).map(":".join)


def matches(pattern: str, name: str) -> bool:
    """What the module says, as a regular expression."""
    parts = [re.escape(one) if one != "*" else "[^:]+" for one in pattern.split(":")]
    if pattern.endswith("*"):
        parts[-1] = ".+"
    return re.fullmatch(":".join(parts), name) is not None


@given(st.sets(pattern), st.sets(pattern), name)
def test_exactly_the_patterns_that_match_are_found(kept: set[str], removed: set[str], name: str) -> None:
    trie: Trie[str] = Trie()
    for one in kept | removed:
        trie.add(one, one)
    for one in removed - kept:
        trie.remove(one)
    found = list(trie.match(name))
    assert sorted(found) == sorted(one for one in kept if matches(one, name))
    assert len(trie) == len(kept)
    assert all(trie.get(one) == one for one in kept)
    for one in kept:
        trie.remove(one)
    assert trie._root.empty


def test_an_empty_part_is_no_part() -> None:
    trie: Trie[int] = Trie()
    trie.add("a:*:b", 1)
    trie.add("a:*", 2)
    assert list(trie.match("a::b")) == [2]
    assert list(trie.match("a")) == []


@pytest.mark.parametrize("wrong", ["*", "a*", "a:b*", "*a:b", "a::b", "a:*:", ":a"])
def test_mistakes(wrong: str) -> None:
    with pytest.raises(ValueError, match="pattern"):
        check_pattern(wrong)


@pytest.mark.parametrize("right", ["a:*", "*:a", "a:*:b", "a:*:*"])
def test_patterns(right: str) -> None:
    check_pattern(right)

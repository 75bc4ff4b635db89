"""Walks over a value of TOML."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from fws.base.tree import leaves, map_leaves

TREES = st.recursive(
    st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=10,
)


def at(tree: Any, path: tuple[str | int, ...]) -> Any:
    for step in path:
        tree = tree[step]
    return tree


@given(TREES)
def test_each_leaf_has_the_path_that_leads_to_it(tree: Any) -> None:
    found = list(leaves(tree))
    assert len({path for path, _ in found}) == len(found)
    for path, leaf in found:
        assert at(tree, path) is leaf


@given(TREES)
def test_a_map_replaces_the_leaves_alone_and_in_their_order(tree: Any) -> None:
    seen: list[Any] = []

    def note(leaf: Any, path: Any) -> Any:
        seen.append((path, leaf))
        return leaf

    copy = map_leaves(tree, note)
    assert copy == tree
    assert seen == list(leaves(tree))

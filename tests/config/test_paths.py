"""The paths of endpoints: what they match, and how paths of other routers are explained."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fws.config.paths import parse_path


def match(path: str, target: str) -> dict[str, str] | None:
    pattern, problems = parse_path(path)
    assert not problems
    return pattern.match(target.split("/"))


@pytest.mark.parametrize(
    ("path", "target", "params"),
    [
        ("/", "/", {}),
        ("/a", "/a", {}),
        ("/a", "/a/", None),
        ("/{room}", "/tea", {"room": "tea"}),
        ("/{room}", "/", None),
        ("/{room}", "/tea/pot", None),
        ("/r/{room}/{name}", "/r/tea/ann", {"room": "tea", "name": "ann"}),
        ("/{rest...}", "/", {"rest": ""}),
        ("/{rest...}", "/a/b/", {"rest": "a/b/"}),
        ("/files/{rest...}", "/files/", {"rest": ""}),
        ("/files/{rest...}", "/files", None),
        ("/files/{rest...}", "/files/a//b", {"rest": "a//b"}),
        ("/{kind}/{rest...}", "/x/y/z", {"kind": "x", "rest": "y/z"}),
        ("/wiki/foo_(bar)", "/wiki/foo_(bar)", {}),
        ("/a:b", "/a:b", {}),
    ],
)
def test_paths_match(path: str, target: str, params: dict[str, str] | None) -> None:
    assert match(path, target) == params


@pytest.mark.parametrize(
    ("path", "hint"),
    [
        ("/*", 'write "{rest...}"'),
        ("/chat/*", 'write "{rest...}"'),
        ("/chat/**", 'write "{rest...}"'),
        ("/*path", 'write "{path...}"'),
        ("/{*path}", 'write "{path...}"'),
        ("/r/:room", 'write "{room}"'),
        ("/r/:room?", 'write "{room}"'),
        ("/r/:path*", 'write "{path...}"'),
        ("/s/<room>", 'write "{room}"'),
        ("/s/<int:room>", 'write "{room}"'),
        ("/s/<path:file>", 'write "{file...}"'),
        ("/s/{room:int}", 'write "{room}"'),
        ("/s/{file:path}", 'write "{file...}"'),
        ("/(.*)", "write /{name}/ for one segment"),
        ("/ws/([^/]+)", "write /{name}/ for one segment"),
        ("^/ws$", "write /{name}/ for one segment"),
        (r"/room/(?P<name>\w+)", "write /{name}/ for one segment"),
        ("/chat*", "write /{name}/ for one segment"),
        ("/{rest...}/x", "a rest takes all segments that follow"),
    ],
)
def test_a_path_as_other_routers_write_it_is_explained(path: str, hint: str) -> None:
    """Fault: such paths passed the check, and then every client got 404."""
    _, problems = parse_path(path)
    assert any(hint in said for _, said in problems)


def test_the_more_specific_path_comes_first() -> None:
    paths = ["/{rest...}", "/{a}/{rest...}", "/{a}/b", "/a/{rest...}", "/a/{b}", "/a/b"]
    in_order = sorted(paths, key=lambda path: parse_path(path)[0].order)
    assert in_order == ["/a/b", "/a/{b}", "/a/{rest...}", "/{a}/b", "/{a}/{rest...}", "/{rest...}"]


@given(st.text(alphabet="/{}.abA:*<>()?#%20^$\\", max_size=30), st.text(alphabet="/ab.", max_size=12))
def test_any_text_is_a_path_or_has_problems(path: str, target: str) -> None:
    pattern, problems = parse_path(path)
    if not problems:
        assert len(set(pattern.names)) == len(pattern.names)
        params = pattern.match(target.split("/"))
        assert params is None or set(params) == set(pattern.names)

"""W3C Trace Context: what a `traceparent` says, and that nothing else is taken for one."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fws.base.trace import TraceContext, headers, parse_traceparent, traceparent

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"


def test_a_context_is_read_and_written() -> None:
    context = parse_traceparent(f"00-{TRACE}-{SPAN}-01")
    assert context == TraceContext(TRACE, SPAN, sampled=True)
    assert str(context) == f"00-{TRACE}-{SPAN}-01"
    assert str(parse_traceparent(f"00-{TRACE}-{SPAN}-00")) == f"00-{TRACE}-{SPAN}-00"


@pytest.mark.parametrize(
    ("flags", "sampled"),
    [("01", True), ("03", True), ("ff", True), ("00", False), ("02", False), ("fe", False)],
)
def test_other_flags_than_sampled_are_ignored(flags: str, sampled: bool) -> None:
    assert parse_traceparent(f"00-{TRACE}-{SPAN}-{flags}") == TraceContext(TRACE, SPAN, sampled=sampled)


def test_later_versions_may_add_to_it() -> None:
    assert parse_traceparent(f"01-{TRACE}-{SPAN}-01-more") == TraceContext(TRACE, SPAN)


@pytest.mark.parametrize(
    "text",
    [
        "",
        None,
        17,
        b"00",
        [f"00-{TRACE}-{SPAN}-01"],
        f"00-{TRACE}-{SPAN}",
        f"00-{TRACE}-{SPAN}-01-",
        f"00-{TRACE}-{SPAN}-01\n",
        f" 00-{TRACE}-{SPAN}-01",
        f"ff-{TRACE}-{SPAN}-01",
        f"01-{TRACE}-{SPAN}-01more",
        f"00-{'0' * 32}-{SPAN}-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f"00-{TRACE.upper()}-{SPAN}-01",
        f"00-{TRACE[:-1]}٣-{SPAN}-01",
        f"00-{TRACE}-{SPAN}-1",
        f"00-{TRACE}-{SPAN}-01, 00-{TRACE}-{SPAN}-01",
        f"01-{TRACE}-{SPAN}-01-{'x' * 1_000_000}",
    ],
    ids=lambda text: repr(text)[:60],
)
def test_anything_else_is_ignored(text: object) -> None:
    assert parse_traceparent(text) is None


@given(st.text(max_size=80))
def test_what_is_read_says_the_same_again(text: str) -> None:
    context = parse_traceparent(text)
    assert context is None or parse_traceparent(str(context)) == context


def test_without_a_trace_nothing_is_passed_on() -> None:
    assert (traceparent(), headers()) == ("", {})

"""The wire format: nodes can read each other's envelopes, and nothing that arrives from Redis does harm."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fws.brokers.envelope import MARKER, MAX_HEADER, EnvelopeError, decode, encode
from fws.pipeline.publication import Publication

TEXT = st.text(st.characters(exclude_categories=["Cs"]))
ids = st.none() | st.text(st.characters(exclude_categories=("Cc", "Cs")), min_size=1, max_size=200)
values: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("ab"), inner, max_size=3),
    max_leaves=8,
)
messages = TEXT | st.binary() | values


@given(messages, ids, ids, st.integers(0, 1000))
def test_one_node_reads_the_envelopes_of_another(
    message: Any, sender: str | None, exclude: str | None, hops: int
) -> None:
    publication = Publication("lobby", message, sender, exclude, hops)
    assert decode("lobby", encode(publication, "here"), "there") == publication.replace(origin="node")


@given(messages)
def test_a_node_knows_its_own(message: Any) -> None:
    assert decode("lobby", encode(Publication("lobby", message), "here"), "here") is None


@given(st.binary())
def test_no_payload_does_more_than_be_refused(payload: bytes) -> None:
    for data in (payload, MARKER + payload, MARKER + b"1" + payload, MARKER + b"1" + payload + b"\n" + payload):
        try:
            decode("lobby", data, "here")
        except EnvelopeError:
            assert data.startswith(MARKER)


@pytest.mark.parametrize(
    ("payload", "message"),
    [(b"hello", "hello"), (b"\xff\xfe", b"\xff\xfe"), (b"", ""), (b"fws1{", "fws1{")],
)
def test_another_applications_message_is_taken_as_it_is(payload: bytes, message: str | bytes) -> None:
    """Fault: one payload that was not UTF-8 ended the relay, and nothing was delivered any more."""
    assert decode("lobby", payload, "here") == Publication("lobby", message, origin="outside")


@pytest.mark.parametrize(
    "payload",
    [
        b"\0fws",
        b"\0fws1",
        b"\0fws2{}\nhello",
        b"\0fws1{}\nhello",
        b'\0fws1{"node":"a"}',
        b'\0fws1{"node":""}\nhello',
        b'\0fws1{"node":7}\nhello',
        b'\0fws1{"node":"a","type":"pickle"}\nhello',
        b'\0fws1{"node":"a","sender":"b\\u0000"}\nhello',
        b'\0fws1{"node":"a","hops":-1}\nhello',
        b'\0fws1{"node":"a"}\n\xff',
        b'\0fws1{"node":"a","type":"json"}\n{',
        b'\0fws1{"node":"a","type":"json"}\n' + b"[" * 1_000_000,
        b'\0fws1{"node":"%b"}\nhello' % (b"a" * 201),
        b'\0fws1{"node":"a","x":"%b"}\nhello' % (b"a" * MAX_HEADER),
        b"\0fws1[" + b"[" * 3000 + b"\nhello",
    ],
)  # fmt: skip
def test_a_payload_that_only_begins_like_an_envelope_is_refused(payload: bytes) -> None:
    with pytest.raises(EnvelopeError):
        decode("lobby", payload, "here")


def test_a_later_version_may_add_fields() -> None:
    payload = b'\0fws1{"node":"a","new":[1]}\nhello'
    assert decode("lobby", payload, "here") == Publication("lobby", "hello", origin="node")


def test_the_format_is_the_documented_one() -> None:
    payload = encode(Publication("lobby", {"a": 1}, "ann", "bob", 2), "node1")
    assert payload == b'\0fws1{"node":"node1","type":"json","sender":"ann","exclude":"bob","hops":2}\n{"a":1}'
    assert encode(Publication("lobby", "hi"), "node1") == b'\0fws1{"node":"node1"}\nhi'


def test_an_invalid_id_is_omitted_and_half_a_character_is_replaced() -> None:
    publication = Publication("lobby", "a\ud800", "x" * 201, "a\nb")
    assert encode(publication, "n") == b'\0fws1{"node":"n"}\na?'
    with pytest.raises(TypeError):
        encode(Publication("lobby", {1j}), "n")


TRACEPARENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


def test_a_trace_travels_with_its_message() -> None:
    publication = Publication("lobby", "hi", "ann", trace=TRACEPARENT)
    payload = encode(publication, "node1")
    assert payload == b'\0fws1{"node":"node1","sender":"ann","trace":"%b"}\nhi' % TRACEPARENT.encode()
    received = decode("lobby", payload, "node2")
    assert received is not None
    assert (received.trace, received.message) == (TRACEPARENT, "hi")
    # Without a trace, an envelope is what it was before.
    assert encode(Publication("lobby", "hi"), "node1") == b'\0fws1{"node":"node1"}\nhi'


@pytest.mark.parametrize(
    "trace",
    [b'"x"', b"17", b"null", b'["%b"]' % TRACEPARENT.encode(), b'{"a":{"b":1}}', b'"%b\\n"' % TRACEPARENT.encode()],
)
def test_an_invalid_trace_is_ignored_and_its_message_is_not_lost(trace: bytes) -> None:
    received = decode("lobby", b'\0fws1{"node":"a","trace":%b}\nhi' % trace, "node2")
    assert received is not None
    assert (received.trace, received.message) == ("", "hi")

from __future__ import annotations

import re
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fws.auth.credential import MAX_TOKEN, Denied, Place, find, fingerprint, fresh, of_message
from fws.auth.shared import MAX_TOKENS, Tokens
from fws.wire.head import HeadReader
from fws.wire.request import Request

TEXT = st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=60)
ALL: tuple[Place, ...] = ("query", "subprotocol", "cookie", "header", "message")


def request(target: str = "/", **headers: str) -> Request:
    lines = [f"GET {target} HTTP/1.1", "Host: a", *(f"{k.replace('_', '-')}: {v}" for k, v in headers.items()), "", ""]
    head = HeadReader().feed("\r\n".join(lines).encode("latin-1"))
    assert head is not None
    return Request(head, {}, "")


def test_the_first_place_that_has_one_gives_it() -> None:
    full = request(
        "/?token=q&token=r",
        Authorization="Bearer h",
        Cookie="token=c; token=d",
        Sec_WebSocket_Protocol="a, fws.token.s, fws.token.t",
    )
    shown: dict[Place, str] = {"query": "q", "header": "h", "cookie": "c", "subprotocol": "s"}
    for place, token in shown.items():
        assert find(full, (place, *ALL), "token", "token") == token
    assert find(full, ("message",), "token", "token") is None
    assert find(full, ("cookie", "query", "header"), "other", "other") == "h"
    assert find(request(), ALL, "token", "token") is None


def test_cookies_may_come_in_several_lines() -> None:
    """Fault: proxies that speak HTTP/2 with the client may split the cookies, and all of them were lost."""
    head = HeadReader().feed(b"GET / HTTP/1.1\r\nHost: a\r\nCookie: a=1\r\nCookie: token=t; b=2\r\n\r\n")
    assert head is not None
    found = Request(head, {}, "")
    assert found.cookies == {"a": "1", "token": "t", "b": "2"}
    assert found.headers["cookie"] == "a=1; token=t; b=2"


def test_another_scheme_is_somebody_elses() -> None:
    for header in ("Basic YTpi", "Bearerx y", "x", ""):
        assert find(request(Authorization=header), ("header",), "token", "token") is None


@pytest.mark.parametrize(
    "header", ["Bearer", "Bearer ", "Bearer a b", "Bearer a,b", "Bearer é", "Bearer =a", "bearer \t"]
)
def test_an_invalid_token_is_denied_and_not_skipped(header: str) -> None:
    """Otherwise a request with a bad token and a good one would pass, whichever of them a proxy has checked."""
    with pytest.raises(Denied):
        find(request("/?token=good", Authorization=header), ("header", "query"), "token", "token")


@given(header=TEXT, cookie=TEXT, protocol=TEXT, value=TEXT)
def test_any_headers_give_a_token_none_or_denied(header: str, cookie: str, protocol: str, value: str) -> None:
    from urllib.parse import quote

    full = request(f"/?token={quote(value)}", Authorization=header, Cookie=cookie, Sec_WebSocket_Protocol=protocol)
    for place in ALL:
        try:
            token = find(full, (place,), "token", "token")
        except Denied as denied:
            assert denied.cause == "malformed"
            continue
        assert token is None or re.fullmatch(r"[!-~]+", token)


@given(message=st.text(max_size=60) | st.binary(max_size=9) | st.from_regex(r'\A\{"token": ?"[^"]{0,9}"\}\Z'))
def test_any_message_is_a_token_or_denied(message: str | bytes) -> None:
    try:
        token = of_message(message)
    except Denied:
        return
    assert re.fullmatch(r"[!-~]+", token)
    assert isinstance(message, str)
    assert token in message or "\\" in message


@pytest.mark.parametrize(
    ("message", "token"),
    [
        ('{"token":"a"}', "a"),
        ('{ "token" : "a" }', "a"),
        ('{"token":"a","token":"b"}', "b"),
        ('{"token":"a","x":1}', None),
        ('{"token":1}', None),
        ("a", None),
        (b'{"token":"a"}', None),
        ({"token": "a"}, None),
        ('{"token":"' + "a" * (MAX_TOKEN + 200) + '"}', None),
        ("{" * 5000, None),
    ],
)
def test_a_fresh_token_is_a_message_of_its_own(message: object, token: str | None) -> None:
    assert fresh(message) == token


def test_a_fingerprint_names_a_token_and_does_not_show_it() -> None:
    assert fingerprint("secret") == "2bb80d537b1da3e38bd30361aa855686"


# Shared tokens.


def test_every_token_is_compared_in_constant_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """CVE-2021-33880: the time of a comparison revealed how much of the password was right."""
    import hmac

    compared = []
    real = hmac.compare_digest

    def compare(a: bytes, b: bytes) -> bool:
        compared.append((a, b))
        return real(a, b)

    monkeypatch.setattr(hmac, "compare_digest", compare)
    tokens = Tokens(["first-token", "ann:second-token", "third-token"])
    for shown, user in (("first-token", ""), ("second-token", "ann"), ("first-tokem", None), ("x", None)):
        compared.clear()
        found = tokens.find(shown)
        assert (None if found is None else found.user) == user
        assert len(compared) == 3, "also behind the right one"
        assert {len(side) for pair in compared for side in pair} == {32}, "digests: of a length that tells nothing"


@pytest.mark.parametrize("written", ["", "ann:", "two words", "é", "a\nb:token", "x" * (MAX_TOKEN + 1)])
def test_an_invalid_token_is_reported_without_quoting_it(written: str) -> None:
    with pytest.raises(ValueError, match=r"token 2") as error:
        Tokens(["good-token", written])
    assert not written or written not in str(error.value)


def test_a_user_may_have_colons_and_the_number_of_tokens_is_bounded() -> None:
    found = Tokens(["urn:user:5:token"]).find("token")
    assert found is not None
    assert found.user == "urn:user:5"
    with pytest.raises(ValueError, match="at most 10000"):
        Tokens(f"token-{number}" for number in range(MAX_TOKENS + 1))


def test_whether_a_token_is_still_there_is_asked_for_every_client() -> None:
    """Fault: 600 clients with a file of 10,000 tokens delayed everybody by 90 ms, again and again."""
    tokens = Tokens(f"token-{number}" for number in range(10_000))
    known = tokens.find("token-9999")
    assert known is not None
    began = time.monotonic()
    for _ in range(50_000):
        assert known in tokens
    assert time.monotonic() - began < 2

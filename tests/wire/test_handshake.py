from __future__ import annotations

from base64 import b64encode

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from websockets.utils import accept_key

from fws.base.errors import Refusal
from fws.wire.handshake import (
    check,
    check_origin,
    choose_subprotocol,
    parse_origins,
    response_headers,
    wants_upgrade,
)
from fws.wire.head import Head, HeadReader

KEY = "dGhlIHNhbXBsZSBub25jZQ=="
UPGRADE = {
    "Host": "example.org",
    "Upgrade": "websocket",
    "Connection": "Upgrade",
    "Sec-WebSocket-Key": KEY,
    "Sec-WebSocket-Version": "13",
}


def request(**changes: str | list[str] | None) -> Head:
    """An upgrade request from the head reader. A change to None omits the header, and a list repeats it."""
    headers = UPGRADE | {name.replace("_", "-"): value for name, value in changes.items()}
    lines = ["GET / HTTP/1.1"]
    for name, value in headers.items():
        for one in value if isinstance(value, list) else [value]:
            if one is not None:
                lines.append(f"{name}: {one}")
    head = HeadReader().feed("\r\n".join([*lines, "", ""]).encode("latin-1"))
    assert head is not None
    return head


def made(method: str = "GET", version: str = "1.1", **more: str) -> Head:
    """A head that the reader would refuse."""
    headers: dict[str, str | tuple[str, ...]] = {
        name.lower().replace("_", "-"): value for name, value in (UPGRADE | more).items()
    }
    return Head(method, "/", "/", "", version, headers)


def refusal(head: Head) -> Refusal:
    with pytest.raises(Refusal) as caught:
        check(head)
    return caught.value


class TestCheck:
    def test_the_example_of_the_rfc(self) -> None:
        assert check(request()) == "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="  # RFC 6455 1.3

    @pytest.mark.parametrize(
        "changes",
        [
            {"Upgrade": "WebSocket"},
            {"Upgrade": "h2c , websocket"},
            {"Upgrade": ["h2c", "websocket"]},
            {"Connection": "keep-alive, Upgrade"},
            {"Connection": ["keep-alive", "upgrade"]},
            {"Connection": ",,UPGRADE,"},
            {"Content_Length": "0"},
        ],
    )
    def test_other_ways_to_say_the_same(self, changes: dict[str, str | list[str] | None]) -> None:
        assert check(request(**changes))

    @pytest.mark.parametrize(
        "changes",
        [
            {"Upgrade": None},
            {"Upgrade": "websockets"},
            {"Upgrade": "web socket"},
            {"Upgrade": "websocket/13"},
            {"Upgrade": "h2c"},
            {"Connection": None},
            {"Connection": "not-upgrade-really"},  # H3: gevent-websocket looks for a substring
            {"Connection": "upgrades"},
            {"Connection": "keep-alive"},
            {"Connection": "keep-alive upgrade"},
            {"Sec_WebSocket_Key": None},
            {"Sec_WebSocket_Key": ""},
            {"Sec_WebSocket_Key": [KEY, KEY]},  # H4: two keys accepted
            {"Sec_WebSocket_Key": f"{KEY}, {KEY}"},
            {"Sec_WebSocket_Key": "x"},  # H1: no base64 became a 500 with a traceback
            {"Sec_WebSocket_Key": "dGhl IHNhbXBsZSBub25jZQ=="},  # H4: junk inside was ignored
            {"Sec_WebSocket_Key": "dGhlIHNhbXBsZSBub25jZQ"},
            {"Sec_WebSocket_Key": "dGhlIHNhbXBsZSBub25jZR=="},  # the same 16 bytes, not canonical
            {"Sec_WebSocket_Key": "dGhlIHNhbXBsZSBub25jZQE="},  # 17 bytes
            {"Sec_WebSocket_Key": "dGhlIHNhbXBsZSBub25j"},  # 15 bytes
            {"Sec_WebSocket_Key": "dGhlIHNhbXBsZSBub25_-Q=="},
            {"Sec_WebSocket_Key": "é" * 22 + "=="},
        ],
    )
    def test_a_malformed_request(self, changes: dict[str, str | list[str] | None]) -> None:
        assert refusal(request(**changes)).status == 400

    @pytest.mark.parametrize(
        "version",
        [
            None,
            "",
            "7",
            "8",
            "14",
            "13, 8",
            "013",
            "13.0",
            "\xb13",
            ["13", "13"],
            ["8", "13"],
        ],
    )
    def test_another_version_gets_426_with_version_13(self, version: str | list[str] | None) -> None:
        caught = refusal(request(Sec_WebSocket_Version=version))
        assert caught.status == 426
        assert ("Sec-WebSocket-Version", "13") in caught.headers
        assert ("Upgrade", "websocket") in caught.headers

    def test_a_future_version_may_have_another_kind_of_key(self) -> None:
        assert refusal(request(Sec_WebSocket_Version="14", Sec_WebSocket_Key="longer" * 9)).status == 426

    def test_another_method(self) -> None:
        caught = refusal(made(method="HEAD"))
        assert caught.status == 405
        assert caught.headers == (("Allow", "GET, HEAD"),)

    def test_http_1_0(self) -> None:
        assert refusal(made(version="1.0")).status == 400

    @pytest.mark.parametrize("header", [{"Content_Length": "5"}, {"Transfer_Encoding": "chunked"}])
    def test_a_body(self, header: dict[str, str]) -> None:
        assert refusal(made(**header)).status == 400

    @settings(max_examples=100, deadline=None)
    @given(st.binary(min_size=16, max_size=16))
    def test_every_honest_key_passes_and_is_answered_as_the_websockets_package_does(self, nonce: bytes) -> None:
        key = b64encode(nonce).decode()
        assert check(request(Sec_WebSocket_Key=key)) == accept_key(key)


@pytest.mark.parametrize(
    ("upgrade", "expected"),
    [("websocket", True), ("h2c, WEBSOCKET", True), ("h2c", False), ("websocket2", False), (None, False)],
)
def test_which_requests_ask_for_an_upgrade(upgrade: str | None, expected: bool) -> None:
    assert wants_upgrade(request(Upgrade=upgrade, Sec_WebSocket_Key=None)) is expected


def test_a_request_with_a_key_asks_for_an_upgrade_even_without_the_header() -> None:
    spoiled = request(Upgrade=None, Connection="close")
    assert wants_upgrade(spoiled)
    assert "proxy" in refusal(spoiled).reason


class TestSubprotocols:
    @pytest.mark.parametrize(
        ("offer", "supported", "chosen"),
        [
            (None, ["v1"], None),
            ("v1", [], None),
            ("v1", ["v1"], "v1"),
            ("v10", ["v1"], None),  # H3: gevent-websocket looks for a substring
            ("v1", ["v10"], None),
            ("V1", ["v1"], None),
            ("b, a", ["a", "b"], "b"),
            (["c", "b, a"], ["a", "b"], "b"),
            (", a ,,b", ["b"], "b"),
            ("fws.token.abc-DEF_1, chat", ["chat"], "chat"),
            ("fws.token.abc", [], None),
            ("fws.token.abc", ["fws.token.abc"], None),  # it would be in the answer, and in logs of answers
            ("fws, fws.token.abc", [], "fws"),  # browsers insist that one is chosen
            ("fws.token.abc, fws, chat", ["chat"], "fws"),
            ("fws", [], None),
            ("", ["a"], None),  # asks for nothing
            (" , ", ["a"], None),
            (["", "a"], ["a"], "a"),
        ],
    )
    def test_the_clients_first_that_is_supported(
        self, offer: str | list[str] | None, supported: list[str], chosen: str | None
    ) -> None:
        assert choose_subprotocol(request(Sec_WebSocket_Protocol=offer), supported) == chosen

    @pytest.mark.parametrize("offer", ["a b", "a/b", '"a"', "a, a", ["a", "b, a"], "é", "a;b"])
    def test_a_malformed_offer(self, offer: str | list[str]) -> None:
        with pytest.raises(Refusal) as caught:
            choose_subprotocol(request(Sec_WebSocket_Protocol=offer), ["a"])
        assert caught.value.status == 400


def passes(origin: str | list[str] | None, *allowed: str, host: str = "example.org", secure: bool = False) -> bool:
    try:
        check_origin(request(Host=host, Origin=origin), parse_origins(allowed), secure=secure)
    except Refusal as refused:
        return refused.status != 403
    return True


class TestOrigin:
    @pytest.mark.parametrize(
        ("origin", "host", "secure"),
        [
            (None, "example.org", False),
            ("http://example.org", "example.org", False),
            ("HTTP://Example.ORG", "example.org", False),
            ("http://example.org:80", "example.org", False),
            ("http://example.org", "EXAMPLE.org:80", False),
            ("https://example.org", "example.org", True),
            ("https://example.org:443", "example.org", True),
            ("https://example.org", "example.org:443", True),
            ("http://localhost:9000", "localhost:9000", False),
            ("http://[::1]:9000", "[0:0:0:0:0:0:0:1]:9000", False),
            # A proxy took the TLS off: the page is https, the connection here is not.
            ("https://example.org", "example.org", False),
        ],
    )
    def test_the_servers_own_pages_pass(self, origin: str | None, host: str, secure: bool) -> None:
        assert passes(origin, host=host, secure=secure)
        assert passes(origin, "https://other.net", host=host, secure=secure)

    @pytest.mark.parametrize(
        ("origin", "host", "secure"),
        [
            ("http://evil.example", "example.org", False),
            ("https://example.org:80", "example.org", False),
            ("http://example.org", "example.org", True),
            ("http://example.org:8080", "example.org", False),
            ("http://example.org", "example.org:8080", False),
            ("http://example.org:443", "example.org:443", True),
            ("http://example.org.evil.example", "example.org", False),
            ("http://evilexample.org", "example.org", False),
            ("http://sub.example.org", "example.org", False),
            ("ws://example.org", "example.org", False),
            ("null", "example.org", False),
            ("http://null", "example.org", False),
        ],
    )
    def test_others_do_not(self, origin: str, host: str, secure: bool) -> None:
        assert not passes(origin, host=host, secure=secure)

    @pytest.mark.parametrize(
        "origin",
        [
            "",
            "example.org",
            "//example.org",
            "http://",
            "http:example.org",
            "http://example.org/",
            "http://example.org?",
            "http://example.org#",
            "http://evil@example.org",
            "http://example.org@evil.example",
            "http://example.org:",
            "http://example.org:0",
            "http://example.org:x",
            "http://example.org\\evil.example",
            "http://example.org http://example.org",
            "http://example.org, http://example.org",
            ["http://example.org", "http://example.org"],
            ["http://example.org", "http://evil.example"],
        ],
    )
    def test_malformed_ones_do_not(self, origin: str | list[str]) -> None:
        assert not passes(origin)
        assert not passes(origin, "null", "http://other.net")

    def test_listed_ones_pass(self) -> None:
        allowed = ("https://Example.net", "http://[::1]:3000", "capacitor://localhost", "null")
        for origin in (
            "https://example.net",
            "https://EXAMPLE.net:443",
            "http://[0::1]:3000",
            "capacitor://localhost",
            "null",
        ):
            assert passes(origin, *allowed)
        for origin in (
            "http://example.net",
            "https://example.net:444",
            "https://a.example.net",
            "http://[::1]",
            "NULL",
        ):
            assert not passes(origin, *allowed)

    def test_a_star_stands_for_the_labels_at_the_left_of_a_host(self) -> None:
        """Fault: neither all hosts below a domain nor the origins of app shells could be configured."""
        entry = "https://*.example.net"
        for origin in ("https://a.example.net", "https://a.b.example.net", "https://A.Example.NET:443"):
            assert passes(origin, entry)
        for origin in (
            "https://example.net",
            "http://a.example.net",
            "https://a.example.net:444",
            "https://evil-example.net",
            "https://aexample.net",
            "https://example.net.evil.com",
            "https://.example.net.evil.com",
            "https://a.example.net@evil.com",
        ):
            assert not passes(origin, entry)
        assert passes("http://a.example.net:3000", "http://*.example.net:3000")

    @pytest.mark.parametrize(
        "origin",
        [
            "file://",
            "app://",
            "app://.",
            "app://obsidian.md",
            "capacitor://localhost",
            "ionic://localhost",
            "tauri://localhost",
            "http://tauri.localhost",
            "chrome-extension://abcdefghijklmnopabcdefghijklmnop",
            "moz-extension://c5b2c9d1-1b2f-4b6e-9d0a-0d3a2f6f1b11",
            "safari-web-extension://8E2B0B2E-4C3B-4E0C-9E37-1C4B0C1C2D3E",
            "vscode-webview://1a2b3c",
            "vscode-file://vscode-app",
            "ms-appx-web://1c2d3e4f",
            "android-app://com.example.app",
        ],
    )
    def test_origins_of_app_shells_can_be_listed(self, origin: str) -> None:
        assert passes(origin, origin)
        assert not passes(origin)
        assert not passes(origin, "https://example.org", "null")

    def test_a_refusal_is_explained_to_the_operator(self) -> None:
        """Fault: behind nginx with `Host $host` a page got 403, and the log said nothing."""
        head = HeadReader().feed(b"GET / HTTP/1.1\r\nHost: chat.example\r\nOrigin: http://chat.example:8080\r\n\r\n")
        assert head is not None
        with pytest.raises(Refusal) as caught:
            check_origin(head, parse_origins([]), secure=False)
        assert caught.value.advice == (
            "the origin http://chat.example:8080 is not that of the Host chat.example: pass the Host on (in nginx: "
            'proxy_set_header Host $http_host), or set origins = ["http://chat.example:8080"]'
        )

    def test_null_passes_only_if_listed(self) -> None:
        assert not passes("null", "https://null")
        assert passes("null", "null")

    def test_a_star_allows_every_origin(self) -> None:
        assert parse_origins(["*"]).everyone
        assert not parse_origins(["http://example.org"]).everyone
        for origin in ("http://evil.example", "null", "file://"):  # the last is what an Android web view says
            assert passes(origin, "*")
        assert not passes(["http://a", "http://b"], "*")

    def test_a_request_without_host_has_no_own_pages(self) -> None:
        head = HeadReader().feed(b"GET / HTTP/1.0\r\nOrigin: http://None\r\n\r\n")
        assert head is not None
        with pytest.raises(Refusal):
            check_origin(head, parse_origins([]), secure=False)


@pytest.mark.parametrize(
    ("entry", "hint"),
    [
        ("example.org", 'write "https://example.org"'),
        ("example.org:8080", 'write "https://example.org:8080"'),
        ("https://example.org/", 'write "https://example.org"'),
        ("https://example.org/chat", 'write "https://example.org"'),
        ("wss://example.org", 'write "https://example.org"'),
        ("WS://ws.example.org:81", 'write "http://ws.example.org:81"'),
        ("https://a.*.example.org", "https://*.example.org"),
        ("https://*", "https://*.example.org"),
        ("https://*.127.0.0.1", "https://*.example.org"),
        ("https://", '"scheme://host:port"'),
        ("https://bücher.de", "xn--bcher-kva.de"),
        ("https://example.org:99999", '"scheme://host:port"'),
        ("https://user@example.org", '"scheme://host:port"'),
        ("Null", '"null"'),
        ("", '"scheme://host:port"'),
    ],
)
def test_an_invalid_entry_is_named_with_a_correction(entry: str, hint: str) -> None:
    with pytest.raises(ValueError, match="origin") as caught:
        parse_origins(["https://fine.example", entry])
    assert repr(entry) in str(caught.value)
    assert hint in str(caught.value)


def test_the_answer_names_only_what_was_agreed_on() -> None:
    assert response_headers("abc=") == [
        ("Upgrade", "websocket"),
        ("Connection", "Upgrade"),
        ("Sec-WebSocket-Accept", "abc="),
    ]
    assert response_headers("abc=", "chat", "permessage-deflate")[3:] == [
        ("Sec-WebSocket-Protocol", "chat"),
        ("Sec-WebSocket-Extensions", "permessage-deflate"),
    ]

"""What proxies say about their clients: which ones are trusted, and invalid PROXY headers."""

from __future__ import annotations

import struct
from ipaddress import ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fws.wire.head import Head, HeadReader
from fws.wire.proxy import (
    Networks,
    ProxyError,
    Source,
    forwarded,
    header_end,
    normal,
    parse_networks,
    parse_proxy,
)
from tests.fuzz import checks

SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"
TRUSTED = parse_networks(["10.0.0.0/8", "2001:db8::/32"])


def head(*lines: str) -> Head:
    read = HeadReader().feed("\r\n".join(["GET / HTTP/1.1", "Host: inside", *lines, "", ""]).encode())
    assert read is not None
    return read


def v2(
    body: bytes, *, command: int = 0x21, family: int = 0x11, length: int | None = None, signature: bytes = SIGNATURE
) -> bytes:
    return signature + struct.pack("!BBH", command, family, len(body) if length is None else length) + body


V4 = ip_address("192.0.2.7").packed + ip_address("10.0.0.1").packed + struct.pack("!HH", 5000, 443)
V6 = ip_address("2001:db8::7").packed + ip_address("2001:db8::1").packed + struct.pack("!HH", 5000, 443)


class TestNetworks:
    def test_networks_addresses_and_unix_sockets(self) -> None:
        networks = parse_networks(["10.0.0.0/8", "192.0.2.1", "::1", "unix:"])
        assert all(address in networks for address in ("10.255.0.1", "192.0.2.1", "::1", ""))
        assert not any(address in networks for address in ("11.0.0.1", "192.0.2.2", "::2", "nonsense"))
        assert "" not in parse_networks(["0.0.0.0/0"])
        assert not Networks()

    @pytest.mark.parametrize(
        ("entry", "advice"),
        [("10.0.0.1/8", 'write "10.0.0.0/8"'), ("localhost", "write one such as"), ("*", "such as"), ("", "such as")],
    )
    def test_an_invalid_network_is_reported_with_a_correction(self, entry: str, advice: str) -> None:
        with pytest.raises(ValueError, match=advice):
            parse_networks([entry])

    def test_ipv4_in_ipv6s_clothes_is_ipv4(self) -> None:
        assert normal("::ffff:10.0.0.1") == "10.0.0.1"
        assert normal("fe80::1%eth0") == "fe80::1"
        assert normal("10.0.0.1") == "10.0.0.1"


class TestForwarded:
    def test_nobody_else_is_believed(self) -> None:
        forged = head("X-Forwarded-For: 192.0.2.9", "X-Forwarded-Proto: https", "X-Forwarded-Host: evil.example")
        peer = Source("198.51.100.1")
        assert forwarded(forged, peer, TRUSTED) == peer
        assert forwarded(forged, Source(""), TRUSTED) == Source("")
        assert forwarded(forged, peer, Networks()) == peer

    @pytest.mark.parametrize(
        ("value", "address"),
        [
            ("192.0.2.9", "192.0.2.9"),
            ("192.0.2.9:5000", "192.0.2.9"),
            ("[2001:db9::1]:5000", "2001:db9::1"),
            ("2001:DB9::1", "2001:db9::1"),
            ("::ffff:192.0.2.9", "192.0.2.9"),
            # What the client wrote itself stands before what the proxy added.
            ("6.6.6.6, 192.0.2.9", "192.0.2.9"),
            ("6.6.6.6, 192.0.2.9, 10.1.1.1", "192.0.2.9"),
            ("10.2.2.2, 10.1.1.1", "10.2.2.2"),
            ("6.6.6.6, unknown, 10.1.1.1", "10.1.1.1"),
            ("unknown", "10.0.0.1"),
            ("_hidden", "10.0.0.1"),
            ("999.1.1.1", "10.0.0.1"),
            ("", "10.0.0.1"),
        ],
    )
    def test_the_client_is_the_last_address_that_is_not_a_proxy(self, value: str, address: str) -> None:
        assert forwarded(head(f"X-Forwarded-For: {value}"), Source("10.0.0.1"), TRUSTED).address == address

    def test_scheme_and_host(self) -> None:
        peer = Source("10.0.0.1")
        found = forwarded(head("X-Forwarded-Proto: HTTPS", "X-Forwarded-Host: example.org:8443"), peer, TRUSTED)
        assert found == Source("10.0.0.1", True, "example.org:8443")
        assert forwarded(head("X-Forwarded-Proto: https, http"), peer, TRUSTED).secure is False
        wrong = head("X-Forwarded-Proto: gopher", "X-Forwarded-Host: a b")
        assert forwarded(wrong, peer, TRUSTED) == peer
        assert forwarded(head(), Source("10.0.0.1", True), TRUSTED).secure is True

    @given(st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=60))
    def test_no_value_does_harm(self, value: str) -> None:
        lines = [f"X-Forwarded-{name}: {value}" for name in ("For", "Proto", "Host")]
        found = forwarded(head(*lines), Source("10.0.0.1"), TRUSTED)
        ip_address(found.address)


class TestVersion1:
    @pytest.mark.parametrize(
        ("line", "source"),
        [
            (b"PROXY TCP4 192.0.2.7 10.0.0.1 5000 443\r\n", Source("192.0.2.7")),
            (b"PROXY TCP6 2001:db9::7 ::1 5000 443\r\n", Source("2001:db9::7")),
            (b"PROXY UNKNOWN\r\n", None),
            (b"PROXY UNKNOWN ffff::1 ffff::2 65535 65535\r\n", None),
        ],
    )
    def test_well_formed(self, line: bytes, source: Source | None) -> None:
        assert header_end(line + b"GET /") == len(line)
        assert parse_proxy(line) == source

    @pytest.mark.parametrize(
        "line",
        [
            b"PROXY TCP4 192.0.2.7 10.0.0.1 5000\r\n",
            b"PROXY TCP4 192.0.2.7 10.0.0.1 5000 65536\r\n",
            b"PROXY TCP4 192.0.2.700 10.0.0.1 5000 443\r\n",
            b"PROXY TCP4 ::1 ::1 5000 443\r\n",
            b"PROXY TCP6 192.0.2.7 10.0.0.1 5000 443\r\n",
            b"PROXY TCP4  192.0.2.7 10.0.0.1 5000 443\r\n",
            b"PROXY TCP4 192.0.2.7 10.0.0.1 +500 443\r\n",
            b"PROXY UDP4 192.0.2.7 10.0.0.1 5000 443\r\n",
            b"proxy TCP4 192.0.2.7 10.0.0.1 5000 443\r\n",
            b"PROXY UNKNOWN\x00\r\n",
            b"PROXY \r\n",
        ],
    )
    def test_anything_else_is_refused(self, line: bytes) -> None:
        with pytest.raises(ProxyError):
            parse_proxy(line)

    def test_a_line_without_end_is_bounded(self) -> None:
        assert header_end(b"PROXY TCP4 " + b"1" * 90) is None
        with pytest.raises(ProxyError):
            header_end(b"PROXY TCP4 " + b"1" * 100)


class TestVersion2:
    @pytest.mark.parametrize(
        ("header", "source"),
        [
            (v2(V4), Source("192.0.2.7")),
            (v2(V6, family=0x21), Source("2001:db8::7")),
            (v2(b"\0" * 216, family=0x31), Source("")),
            (v2(V4, command=0x20), None),
            (v2(b"", command=0x20, family=0), None),
            (v2(b"", family=0), None),
            (v2(V4, family=0x12), None),
            (v2(V4 + b"\x04\0\x02ab"), Source("192.0.2.7")),
            (v2(V4 + b"\x20\0\x05\x01\0\0\0\0"), Source("192.0.2.7", True)),
            (v2(V4 + b"\x20\0\x05\0\0\0\0\0"), Source("192.0.2.7", False)),
        ],
    )
    def test_well_formed(self, header: bytes, source: Source | None) -> None:
        assert header_end(header + b"\x16\x03\x01") == len(header)
        assert parse_proxy(header) == source

    @pytest.mark.parametrize(
        "header",
        [
            v2(V4, command=0x11),
            v2(V4, command=0x22),
            v2(V4, family=0x41),
            v2(V4, family=0x13),
            v2(V4[:11]),
            v2(V4, family=0x21),
            v2(V4, length=13),
            v2(V4 + b"\x04\0"),
            v2(V4 + b"\x04\0\x09ab"),
            v2(V4, signature=SIGNATURE[:-1] + b"\r"),
        ],
    )
    def test_anything_else_is_refused(self, header: bytes) -> None:
        with pytest.raises(ProxyError):
            parse_proxy(header)

    def test_a_long_one_is_not_waited_for(self) -> None:
        with pytest.raises(ProxyError):
            header_end(v2(b"", length=5000))


HEADERS = st.one_of(
    st.binary(max_size=60),
    st.builds(lambda rest: b"PROXY " + rest, st.binary(max_size=120)),
    st.builds(lambda rest: SIGNATURE + rest, st.binary(max_size=80)),
    st.builds(
        lambda body, command, family: v2(body, command=command, family=family),
        st.binary(max_size=300),
        st.integers(0, 255),
        st.integers(0, 255),
    ),
)


@given(HEADERS)
def test_any_bytes_are_a_header_or_are_refused_or_need_more_whatever_pieces_they_come_in(data: bytes) -> None:
    checks.proxy(data)

from __future__ import annotations

import time
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fws.base.errors import Refusal
from fws.wire.head import MAX_HEAD, MAX_HEAD_LINE, MAX_HEADERS, Head, HeadReader, Takes, parse_authority
from tests.fuzz import checks

BROWSER = (
    b"GET /chat/b%C3%BCcher?name=ada&x=%2F HTTP/1.1\r\n"
    b"Host: localhost:9000\r\n"
    b"Connection: keep-alive, Upgrade\r\n"
    b"Pragma: no-cache\r\n"
    b"Cache-Control: no-cache\r\n"
    b"User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0\r\n"
    b"Upgrade: websocket\r\n"
    b"Origin: http://localhost:9000\r\n"
    b"Sec-WebSocket-Version: 13\r\n"
    b"Accept-Encoding: gzip, deflate, br, zstd\r\n"
    b"Cookie: a=1; b=2\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
    b"Sec-WebSocket-Extensions: permessage-deflate\r\n"
    b"\r\n"
)
HOST = b"Host: example.org\r\n"


def feed(pieces: Sequence[bytes]) -> Head | None:
    reader = HeadReader()
    for piece in pieces[:-1]:
        assert reader.feed(piece) is None
    return reader.feed(pieces[-1])


def read(*pieces: bytes) -> Head:
    head = feed(pieces)
    assert head is not None
    return head


def refused(*pieces: bytes) -> Refusal:
    with pytest.raises(Refusal) as caught:
        feed(pieces)
    return caught.value


def outcome(*pieces: bytes) -> tuple[object, ...]:
    return checks.head_outcome(pieces)


class TestAccepted:
    def test_a_browsers_request(self) -> None:
        head = read(BROWSER)
        assert (head.method, head.version) == ("GET", "1.1")
        assert head.target == "/chat/b%C3%BCcher?name=ada&x=%2F"
        assert head.path == "/chat/bücher"
        assert head.query == "name=ada&x=%2F"
        assert len(head.headers) == 12
        assert head.get("host") == "localhost:9000"
        assert head.get("sec-websocket-key") == "dGhlIHNhbXBsZSBub25jZQ=="
        assert head.get("authorization") is None
        assert not head.has_body

    def test_bytes_after_the_head_are_kept(self) -> None:
        reader = HeadReader()
        assert reader.feed(BROWSER[:-1]) is None
        assert reader.feed(b"\n\x81\x80\r\n\r\n") is not None
        assert reader.rest == b"\x81\x80\r\n\r\n"

    @pytest.mark.parametrize("stream", [BROWSER + b"\x81\x85rest", b"\r\n\r\nHEAD / HTTP/1.0\r\n\r\n"])
    def test_every_split_gives_the_same(self, stream: bytes) -> None:
        whole = outcome(stream)
        assert whole[0] == "head"
        for position in range(len(stream)):
            assert outcome(stream[:position], stream[position:]) == whole
        assert outcome(*(bytes([byte]) for byte in stream)) == whole

    def test_repeated_headers_are_joined_in_order(self) -> None:
        head = read(b"GET / HTTP/1.1\r\n" + HOST + b"X-Tag: a\r\nOther: -\r\nx-tAG:b, c\r\n\r\n")
        assert head.all("x-tag") == ("a", "b, c")
        assert head.get("x-tag") == "a, b, c"

    @pytest.mark.parametrize(
        ("line", "value"),
        [
            (b"X:", ""),
            (b"X: \t ", ""),
            (b"X:a", "a"),
            (b"X: \ta b\tc \t", "a b\tc"),
            (b"X: a:b", "a:b"),
            (b"X: caf\xe9", "café"),
        ],
    )
    def test_blanks_around_a_value_do_not_belong_to_it(self, line: bytes, value: str) -> None:
        assert read(b"GET / HTTP/1.1\r\n" + HOST + line + b"\r\n\r\n").get("x") == value

    @pytest.mark.parametrize(
        "request_head",
        [
            b"GET / HTTP/1.0\r\n\r\n",
            b"HEAD / HTTP/1.1\r\nHost: [::1]:9000\r\n\r\n",
            b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n",
            b"GET /?a=%zz HTTP/1.1\r\nHost: my_service\r\n\r\n",  # the query is the application's to decode
            b"\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
        ],
    )
    def test_plain_requests(self, request_head: bytes) -> None:
        assert read(request_head).path == "/"


REQUEST_LINES = [
    (b"GET / HTTP/2.0", 505),
    (b"PRI * HTTP/2.0", 505),
    (b"GET / HTTP/0.9", 505),
    (b"GET /", 505),
    (b"POST / HTTP/1.1", 405),
    (b"OPTIONS * HTTP/1.1", 405),
    (b"CONNECT a:80 HTTP/1.1", 405),
    (b"get / HTTP/1.1", 501),
    (b"BREW / HTTP/1.1", 501),
    (b"PATCH / HTTP/1.1", 405),
    (b"GET", 400),
    (b"GET  / HTTP/1.1", 400),
    (b"GET / HTTP/1.1 ", 400),
    (b" GET / HTTP/1.1", 400),
    (b"GET\t/ HTTP/1.1", 400),
    (b"GET /a b HTTP/1.1", 400),
    (b"GET / http/1.1", 400),
    (b"GET / HTTP/1.10", 400),
    (b"G\xc9T / HTTP/1.1", 400),
    (b"GET /caf\xe9 HTTP/1.1", 400),
    (b"GET /\x00 HTTP/1.1", 400),
    (b"GET / HTTP/1.1\r", 400),
    (b"GET ftp://example.org/ HTTP/1.1", 400),
    (b"GET http:///path HTTP/1.1", 400),
    (b"GET http://ann@example.org/ HTTP/1.1", 400),
    (b"GET http://example.org:x/ HTTP/1.1", 400),
    (b"GET http://example.org/#top HTTP/1.1", 400),
    (b"GET example.org:80 HTTP/1.1", 400),
    (b"GET * HTTP/1.1", 400),
    (b"GET example HTTP/1.1", 400),
    (b"GET /#top HTTP/1.1", 400),
    (b"GET /%00 HTTP/1.1", 400),
    (b"GET /a%0d%0ab HTTP/1.1", 400),
    (b"GET /%7f HTTP/1.1", 400),
    (b"GET /%c2%85 HTTP/1.1", 400),
    (b"GET /%ff HTTP/1.1", 400),
    (b"GET /%c0%af HTTP/1.1", 400),
    (b"GET /%ed%a0%80 HTTP/1.1", 400),
    (b"GET /% HTTP/1.1", 400),
    (b"GET /%2 HTTP/1.1", 400),
    (b"GET /%+1 HTTP/1.1", 400),
]

HEADERS = [
    (b"X : a", 400),  # W3: pywsgi drops this header and all later ones
    (b"X\t: a", 400),
    (b" X: a", 400),
    (b"\tfolded", 400),
    (b"X", 400),
    (b": a", 400),
    (b"X(: a", 400),
    (b"\xc9: a", 400),
    (b"X: a\rb", 400),
    (b"X: a\r", 400),
    (b"X: a\x00", 400),
    (b"X: a\x0bb", 400),
    (b"X: a\x1fb", 400),
    (b"X: a\x7f", 400),
    (b"Host: example.org", 400),  # a second one, even if it is the same
    (b"Content-Length: 3", 400),
    (b"Content-Length: 1_0", 400),  # W1: pywsgi reads 10
    (b"Content-Length: +3", 400),
    (b"Content-Length: -0", 400),
    (b"Content-Length: 0x0", 400),
    (b"Content-Length:", 400),
    (b"Content-Length: 0, 0", 400),
    (b"Content-Length: 0\r\nContent-Length: 0", 400),
    (b"Content-Length: \xb2", 400),  # a superscript digit, which str.isdigit takes
    (b"Content-Length: " + b"0" * 21, 400),
    (b"Content-Length: " + b"9" * 8000, 400),
    (b"Transfer-Encoding: chunked", 400),
    (b"Transfer-Encoding:", 501),
    (b"Transfer-Encoding: identity", 501),
    (b"Transfer-Encoding: gzip, chunked", 501),  # W2: pywsgi answers the body as a second request
    (b"Transfer-Encoding: \x0bchunked", 400),
    (b"Transfer-Encoding: chunked\r\nContent-Length: 0", 400),
    (b"Transfer-Encoding: gzip\r\nContent-Length: 0", 400),
]

HOSTS = [
    b"",
    b"a b",
    b"a,b",
    b"a/b",
    b"user@a",
    b"a:",
    b"a:0",
    b"a:65536",
    b"a:+80",
    b"a:80:80",
    b"::1",
    b"[::1",
    b"[::g]",
    b"[1:2]",
    b"[fe80::1%25eth0]",
    b"b\xfccher",
]


class TestRefused:
    @pytest.mark.parametrize(("line", "status"), REQUEST_LINES)
    def test_request_line(self, line: bytes, status: int) -> None:
        assert refused(line + b"\r\n" + HOST + b"\r\n").status == status

    @pytest.mark.parametrize(("line", "status"), HEADERS)
    def test_header(self, line: bytes, status: int) -> None:
        assert refused(b"GET / HTTP/1.1\r\n" + HOST + line + b"\r\n\r\n").status == status
        assert refused(b"GET / HTTP/1.1\r\n" + line + b"\r\n" + HOST + b"\r\n").status == status

    @pytest.mark.parametrize("host", HOSTS)
    def test_host(self, host: bytes) -> None:
        assert refused(b"GET / HTTP/1.1\r\nHost: " + host + b"\r\n\r\n").status == 400
        assert refused(b"GET / HTTP/1.0\r\nHost: " + host + b"\r\n\r\n").status == 400

    def test_http_1_1_without_a_host(self) -> None:
        assert refused(b"GET / HTTP/1.1\r\nX: a\r\n\r\n").status == 400

    @pytest.mark.parametrize("line_number", range(4))
    def test_a_bare_line_feed_anywhere(self, line_number: int) -> None:
        lines = [b"GET / HTTP/1.1\r\n", HOST, b"X: a\r\n", b"\r\n"]
        lines[line_number] = lines[line_number].replace(b"\r\n", b"\n")
        assert refused(b"".join(lines)).status == 400

    def test_a_coding_of_http_1_0(self) -> None:
        assert refused(b"GET / HTTP/1.0\r\nTransfer-Encoding: gzip\r\n\r\n").status == 400

    def test_http_0_9_at_once_for_its_client_sends_no_more(self) -> None:
        assert refused(b"GET /\r\n").status == 505

    def test_405_names_the_methods(self) -> None:
        assert refused(b"DELETE / HTTP/1.1\r\n").headers == (("Allow", "GET, HEAD"),)

    def test_empty_lines_without_end(self) -> None:
        assert read(b"\r\n\r\nGET / HTTP/1.0\r\n\r\n").path == "/"
        assert refused(b"\r\n\r\n\r\n").status == 400

    def test_a_tls_hello_on_the_plain_port(self) -> None:
        hello = b"\x16\x03\x01\x00\xc8\x01\x00\x00\xc4\x03\x03" + bytes(32) + b"\x00\x0a\x00\x08"
        refusal = refused(hello)
        assert refusal.status == 400
        assert "[server.tls]" in refusal.reason

    @pytest.mark.parametrize("header", [b"PROXY UNKNOWN\r\n", b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c"])
    def test_a_proxy_header_that_nobody_expects(self, header: bytes) -> None:
        assert "proxy_protocol" in refused(header).reason

    def test_the_method_is_known_before_the_head_ends(self) -> None:
        reader = HeadReader()
        assert reader.method == ""
        reader.feed(b"HEAD / HTTP/1.1\r\nHost: ")
        assert reader.method == "HEAD"


POST = b"POST /api/publish HTTP/1.1\r\n" + HOST
# Headers of a POST to a path that takes bodies of up to 100 bytes.
BODIES = [
    (b"", 411),
    (b"Content-Length: 101", 413),
    (b"Content-Length: 99999999999999999999", 413),
    (b"Content-Length: 1_0", 400),
    (b"Content-Length: +3", 400),
    (b"Content-Length: -1", 400),
    (b"Content-Length: 0x3", 400),
    (b"Content-Length: 3, 3", 400),
    (b"Content-Length: 3\r\nContent-Length: 3", 400),
    (b"Content-Length: 3\r\nContent-Length: 5", 400),
    (b"Content-Length : 3", 400),
    (b"Content-Length: " + b"0" * 20 + b"3", 400),
    (b"Transfer-Encoding: chunked", 411),
    (b"Transfer-Encoding: Chunked", 411),
    (b"Transfer-Encoding: gzip, chunked", 501),
    (b"Transfer-Encoding: identity", 501),
    (b"Transfer-Encoding: \x0bchunked", 400),
    (b"Transfer-Encoding: chunked\r\nContent-Length: 3", 400),
    (b"Content-Length: 3\r\nTransfer-Encoding: identity", 400),
    (b"Content-Length: 3\r\nExpect: 200-ok", 417),
]


def taking(path: str) -> Takes | None:
    """What an application might take: bodies below /api, and preflight requests at /open."""
    if path.startswith("/api"):
        return Takes(body=100)
    return Takes(("GET", "HEAD", "POST", "OPTIONS"), 5) if path == "/open" else None


def read_taking(data: bytes) -> tuple[Head, HeadReader]:
    reader = HeadReader(taking=taking)
    head = reader.feed(data)
    assert head is not None
    return head, reader


def refused_taking(data: bytes) -> Refusal:
    with pytest.raises(Refusal) as caught:
        HeadReader(taking=taking).feed(data)
    return caught.value


class TestBodies:
    """Heads of requests with a body, at paths that take one. What follows the head is not the reader's to interpret."""

    @pytest.mark.parametrize("length", [b"0", b"3", b"100", b"007"])
    def test_a_post_with_one_length(self, length: bytes) -> None:
        head, reader = read_taking(POST + b"Content-Length: " + length + b"\r\n\r\nabc")
        assert (head.method, head.length, reader.rest) == ("POST", int(length), b"abc")
        assert reader.takes == Takes(body=100)

    @pytest.mark.parametrize("version", [b"1.0", b"1.1"])
    def test_only_http_1_1_waits_for_a_continue(self, version: bytes) -> None:
        data = POST.replace(b"1.1", version) + b"Content-Length: 3\r\nExpect: 100-Continue\r\n\r\n"
        assert read_taking(data)[0].waits_for_continue == (version == b"1.1")

    @pytest.mark.parametrize(("lines", "status"), BODIES)
    def test_a_body_whose_end_is_not_certain_or_too_far(self, lines: bytes, status: int) -> None:
        end = lines + b"\r\n\r\n" if lines else b"\r\n"
        assert refused_taking(POST + end).status == status

    def test_a_coding_of_http_1_0(self) -> None:
        assert refused_taking(POST.replace(b"1.1", b"1.0") + b"Transfer-Encoding: chunked\r\n\r\n").status == 400

    @pytest.mark.parametrize("method", [b"GET", b"HEAD", b"OPTIONS"])
    def test_other_methods_have_no_body_there_either(self, method: bytes) -> None:
        start = method + b" /open HTTP/1.1\r\n" + HOST
        assert read_taking(start + b"\r\n")[0].length == 0
        assert refused_taking(start + b"Content-Length: 3\r\n\r\n").status == 400
        assert refused_taking(start + b"Transfer-Encoding: chunked\r\n\r\n").status == 400

    @pytest.mark.parametrize("target", [b"/", b"/ap", b"*", b"/%2fapi", b"/%zz", b"http://a@b/api", b"example"])
    def test_at_any_other_target_a_post_is_what_it_was(self, target: bytes) -> None:
        refusal = refused_taking(b"POST " + target + b" HTTP/1.1\r\n")
        assert (refusal.status, refusal.headers) == (405, (("Allow", "GET, HEAD"),))

    @pytest.mark.parametrize(
        ("line", "allow"),
        [(b"PUT /api/x", "POST"), (b"OPTIONS /api", "POST"), (b"PUT /open", "GET, HEAD, POST, OPTIONS")],
    )
    def test_405_names_what_the_path_serves(self, line: bytes, allow: str) -> None:
        refusal = refused_taking(line + b" HTTP/1.1\r\n")
        assert (refusal.status, refusal.headers) == (405, (("Allow", allow),))

    @pytest.mark.parametrize("target", [b"/%61pi", b"http://example.org/api?x=1", b"/api/publish?y"])
    def test_the_decoded_path_decides(self, target: bytes) -> None:
        head, _ = read_taking(b"POST " + target + b" HTTP/1.1\r\n" + HOST + b"Content-Length: 1\r\n\r\n")
        assert head.length == 1

    def test_a_fragment(self) -> None:
        assert refused_taking(b"POST /api#x HTTP/1.1\r\n").status == 400


class TestLimits:
    """The largest head that fits and the smallest that does not, complete and before its end has arrived."""

    def test_request_line(self) -> None:
        line = b"GET /" + b"a" * (MAX_HEAD_LINE - len("GET / HTTP/1.1")) + b" HTTP/1.1"
        assert read(line, b"\r", b"\n" + HOST + b"\r\n").method == "GET"
        longer = line.replace(b"/", b"/a", 1)
        assert refused(longer + b"\r\n").status == 414
        assert refused(longer).status == 414
        assert refused(*[b"a" * 100] * 82).status == 414

    def test_header_line(self) -> None:
        start, line = b"GET / HTTP/1.0\r\n", b"X: " + b"a" * (MAX_HEAD_LINE - 3)
        assert read(start, line, b"\r", b"\n\r\n").version == "1.0"
        assert refused(start + line + b"a\r\n").status == 431
        assert refused(start + line + b"a").status == 431
        assert refused(start + line, b"\ra").status == 431

    def test_number_of_headers(self) -> None:
        start, line = b"GET / HTTP/1.0\r\n", b"X: a\r\n"
        assert len(read(start + line * MAX_HEADERS + b"\r\n").all("x")) == MAX_HEADERS
        assert refused(start + line * (MAX_HEADERS + 1)).status == 431

    def test_whole_head(self) -> None:
        start = b"GET / HTTP/1.0\r\n" + (b"X: " + b"a" * 8000 + b"\r\n") * 4
        fill = MAX_HEAD - len(start) - len("Y: \r\n\r\n")
        head = start + b"Y: " + b"a" * fill + b"\r\n\r\n"
        assert len(head) == MAX_HEAD
        assert read(head + b"rest").version == "1.0"
        longer = start + b"Y: a" + b"a" * fill + b"\r\n\r\n"
        assert refused(longer).status == 431
        assert refused(longer[:-1], b"\n").status == 431
        assert refused(start + b"Y: " + b"a" * (MAX_HEAD - len(start) - 2)).status == 431

    @pytest.mark.parametrize("end", [b"", b"\r\n"])
    def test_a_line_that_is_larger_than_a_head_is_too_long_however_it_is_cut(self, end: bytes) -> None:
        line = b"GET /" + b"a" * MAX_HEAD + end
        assert refused(line).status == refused(line[:20], line[20:]).status == 414
        assert refused(line[:9000]).status == 414

    def test_bytes_after_the_head_do_not_count(self) -> None:
        assert read(b"GET / HTTP/1.0\r\n\r\n" + bytes(2 * MAX_HEAD)).path == "/"

    @pytest.mark.parametrize("filler", [b" ", b"\t", b"a", b"a "])
    def test_no_line_takes_quadratic_time(self, filler: bytes) -> None:
        line = b"X: " + (filler * MAX_HEAD_LINE)[: MAX_HEAD_LINE - 4] + b"\x00\r\n"
        before = time.perf_counter()
        assert refused(b"GET / HTTP/1.0\r\n" + line).status == 400
        assert time.perf_counter() - before < 0.05  # with backtracking over blanks: 0.4 s


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Example.ORG", ("example.org", None)),
        ("example.org:8080", ("example.org", 8080)),
        ("127.0.0.1:80", ("127.0.0.1", 80)),
        ("[0:0::0:1]:443", ("[::1]", 443)),
        ("[::FFFF:127.0.0.1]", ("[::ffff:7f00:1]", None)),
        ("example.org\n", None),
        ("example.org:\uff18\uff10", None),
    ],
)
def test_an_authority_is_normalised(text: str, expected: tuple[str, int | None] | None) -> None:
    assert parse_authority(text) == expected


# Pieces of heads, good and bad, in any order: far more of them are nearly right than of random bytes.
GOOD = st.sampled_from(
    [
        b"X:\r\n",
        b"X:a\r\n",
        b"X: \t a \tb\t\r\n",
        b"X-Y_z!: caf\xe9 \x85\xa0\r\n",
        b"Connection: Upgrade\r\nUpgrade: websocket\r\n",
        b"Connection: close\r\n",
        b"Expect: 100-continue\r\n",
    ]
)
BAD = st.sampled_from(
    [
        *(line + b"\r\n" for line, _ in REQUEST_LINES + HEADERS if len(line) < 100),
        HOST,
        b"Content-Length: 00\r\n",  # good once
        b"X: a\n",
        b"\r\n",
        b"\xff",
    ]
)
STARTS = st.sampled_from(
    [b"\r\n", BROWSER, BROWSER[:-2], b"GET /a?b HTTP/1.1\r\n" + HOST, b"HEAD /%41 HTTP/1.0\r\n", b"GET / HTTP/1.1\r\n"]
)
CHANGES = st.sampled_from([b"", b" ", b"\t", b"\r", b"\n", b":", b"\x00", b"\x85", b"%", b",", b"/", b"\r\n"])


@st.composite
def streams(draw: st.DrawFn) -> bytes:
    lines = draw(st.lists(st.one_of(GOOD, GOOD, GOOD, BAD), max_size=6))
    stream = bytearray(draw(STARTS) + b"".join(lines) + b"\r\n" + draw(st.sampled_from([b"", b"\x81\x80", b"\n"])))
    for _ in range(draw(st.integers(0, 2))):
        position = draw(st.integers(0, len(stream)))
        stream[position : position + draw(st.integers(0, 2))] = draw(CHANGES)
    return bytes(stream)


@pytest.mark.slow
@settings(max_examples=300, deadline=None)
@given(streams(), st.lists(st.integers(1, 40), max_size=30))
def test_any_split_gives_the_same(stream: bytes, sizes: list[int]) -> None:
    pieces, position = [], 0
    for size in sizes:
        pieces.append(stream[position : position + size])
        position += size
    pieces.append(stream[position:])
    assert outcome(*pieces) == outcome(stream)


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=200))
def test_bytes_of_any_kind_are_read_or_refused(data: bytes) -> None:
    checks.head(data)


@pytest.mark.slow
@settings(max_examples=1000, deadline=None)
@given(streams())
def test_h11_reads_accepted_heads_in_the_same_way(stream: bytes) -> None:
    checks.head(stream)


@pytest.mark.parametrize(
    ("target", "path", "query", "host"),
    [
        (b"http://example.org/chat?a=b", "/chat", "a=b", "example.org"),
        (b"HTTPS://Example.org:8443/", "/", "", "Example.org:8443"),
        (b"http://example.org", "/", "", "example.org"),
        (b"http://example.org?a=b", "/", "a=b", "example.org"),
        (b"ws://[::1]:9000/chat", "/chat", "", "[::1]:9000"),
        (b"http://example.org/a%20b", "/a b", "", "example.org"),
        (b"//example.org/", "//example.org/", "", "other.example"),
        (b"/http://example.org/", "/http://example.org/", "", "other.example"),
    ],
)
def test_the_absolute_form_is_taken_with_its_host(target: bytes, path: str, query: str, host: str) -> None:
    """Fault: a server must accept it (RFC 9112 3.2.2), and it got 400. Its host counts, and not the header's."""
    head = read(b"GET " + target + b" HTTP/1.1\r\nHost: other.example\r\n\r\n")
    assert (head.path, head.query, head.get("host")) == (path, query, host)
    assert head.target.startswith("/")


def test_a_minor_version_above_ours_is_served_as_ours() -> None:
    """Fault: version 1.2 got 505 (RFC 9110 2.5)."""
    assert read(b"GET / HTTP/1.2\r\nHost: a\r\n\r\n").version == "1.1"

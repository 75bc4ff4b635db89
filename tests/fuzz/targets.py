"""The targets of fuzzing: for each one its check, its first inputs, and its limits."""

from __future__ import annotations

import zlib
from pathlib import Path

import msgspec

from fws.api.methods import METHODS
from tests.auth.pairs import NOW, encoded, jwk, signed
from tests.config.test_mutations import CHAT, NASTY, ODD, ROOMS
from tests.fuzz import checks, protocols
from tests.wire.octets import client_frame
from tests.wire.test_head import BODIES, BROWSER, HEADERS, HOST, POST, REQUEST_LINES
from tests.wire.test_proxy import V4, V6, v2

FOUND = Path(__file__).parent / "found"


class Target(msgspec.Struct, frozen=True):
    """One parser.

    Attributes:
        check: raises for bytes that it should not.
        seeds: inputs that are valid or nearly valid.
        size: the largest input that is tried, in bytes.
        seconds: processor time of one case of any size.
        per_kib: further processor time for each KiB. Both limits are several times what the check takes with tracing.
            Their purpose is to find checks that do not take linear time.
        environ: the environment of its process.
    """

    check: checks.Check
    seeds: tuple[bytes, ...]
    size: int
    seconds: float = 0.05
    per_kib: float = 0.02
    environ: dict[str, str] = {}

    def __call__(self, data: bytes) -> None:
        checks.within(self.check, data, self.seconds, self.per_kib)


def _heads() -> tuple[bytes, ...]:
    lines = [line for line, _ in HEADERS if len(line) < 100]
    return (
        BROWSER,
        BROWSER + b"\x81\x85rest",
        b"\r\n\r\nHEAD /%41?b=%2F HTTP/1.0\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: [::1]:9000\r\nContent-Length: 0\r\nX: caf\xe9 \t\r\n\r\n\n",
        b"GET /?token=abc HTTP/1.1\r\n" + HOST + b"Cookie: a=1; token=x.y.z\r\nAuthorization: Bearer abc\r\n\r\n",
        b"GET / HTTP/1.1\r\n" + HOST + b"Sec-WebSocket-Protocol: a, fws.token.abc\r\n\r\n",
        b"GET http://example.org:9000/chat?a=1 HTTP/1.1\r\n" + HOST + b"\r\n",
        b"GET ws://example.org?a=/ HTTP/1.2\r\n" + HOST + b"\r\n",
        *(line + b"\r\n" + HOST + b"\r\n" for line, _ in REQUEST_LINES),
        *(b"GET / HTTP/1.1\r\n" + HOST + line + b"\r\n\r\n" for line in lines),
        POST + b"Content-Length: 3\r\nExpect: 100-continue\r\n\r\nabcGET / HTTP/1.1\r\n",
        *(POST + line + b"\r\n\r\nabc" for line, _ in BODIES),
    )


def _frames() -> tuple[bytes, ...]:
    packer = zlib.compressobj(wbits=-15)
    packed = [(packer.compress(text) + packer.flush(zlib.Z_SYNC_FLUSH))[:-4] for text in (b"one two", b"one two three")]
    plain = (
        client_frame(1, "aé€𝄞".encode())
        + client_frame(2, bytes(range(256)))
        + client_frame(9, b"ping")
        + client_frame(8, b"\x03\xe8bye")
    )
    pieces = client_frame(1, b"on", fin=False) + client_frame(10, b"") + client_frame(0, b"e \xe2\x82", fin=False)
    return (
        b"\0" + plain,
        b"\0" + pieces + client_frame(0, b"\xac"),
        b"\0" + client_frame(2, b"x" * 300, fin=False) + client_frame(0) + client_frame(0, b"y" * 1700),
        b"\1" + client_frame(1, packed[0], rsv=4) * 2 + plain,
        b"\2" + b"".join(client_frame(1, one, rsv=4) for one in packed) + client_frame(8),
        b"\2" + client_frame(2, packed[0][:3], rsv=4, fin=False) + client_frame(0, packed[0][3:]),
        b"\3" + client_frame(1, bytes.fromhex("f348cdc9c9070000"), rsv=4),
        b"\2" + client_frame(2, zlib.compress(bytes(5000), wbits=-15), rsv=4),
        b"\0\x82\xfe\x00\x7e" + b"abcd" + b"x" * 126,
        b"\0\x82\xff" + (65536).to_bytes(8) + b"abcd",
    )


def _tomls() -> tuple[bytes, ...]:
    stages = """
[pipelines]
connect = ["token 'a long enough token' 'ann:another one of these'", "when 'user == \\"ann\\"' then=deny"]
message = ['reply {"error":"busy"}', "set a={id} b=${X:-1}", "switch type", "rate_limit 20/s burst=2 on_excess=drop"]
deliver = ["skip_sender", "pick a.b c", "require \\"'editor' in identity.roles\\""]
[chains]
deny = ["reject 403", "close 4000 'bye'"]
[limits]
max_message = "64KiB"
clients = 10
"""
    return tuple(text.encode() for text in (CHAT, ROOMS, ODD, CHAT + ROOMS, stages, *NASTY))


def _tokens() -> tuple[bytes, ...]:
    heads = (
        b'{"alg":"%s","typ":"JWT"}',
        b'{"alg":"%s","kid":"a"}',
        b'{"alg":"none"}',
        b'{"alg":"%s","crit":["exp"]}',
        b'{"alg":"%s","b64":false}',
        b'{"jwk":{"kty":"oct","k":"eA"},"alg":"%s","jku":"https://evil.example/"}',
        b'{"alg":["%s"]}',
    )
    claims = b'{"sub":"ann","exp":%d,"nbf":1,"aud":["chat"],"iss":"x"}' % (NOW + 60)
    expired = b'{"exp":1e3}'
    made = [
        bytes((number, signer)) + (head % algorithm.encode() if b"%s" in head else head) + b"\n" + body + b"\n\0\1"
        for number, algorithm in enumerate(checks.CHOSEN)
        for signer in range(5)
        for head in heads
        for body in (claims, expired)
    ]
    sets = [b'{"keys": [' + msgspec.json.encode(jwk(one, kid="a")) + b"]}" for one in checks.CHOSEN]
    texts = [signed(iss="x").encode(), b'{"token":"abc"}', f"{encoded({'alg': 'HS256'})}.AA.".encode()]
    return (*made, *(bytes((number & 3, 5)) + text for number, text in enumerate(sets + texts)))


def _proxies() -> tuple[bytes, ...]:
    tls = b"\x20\0\x05\x01\0\0\0\0"
    return (
        b"PROXY TCP4 192.0.2.7 10.0.0.1 5000 443\r\nGET / HTTP/1.1\r\n",
        b"PROXY TCP6 2001:db9::7 ::ffff:10.0.0.1 5000 443\r\n",
        b"PROXY UNKNOWN ffff::1 ffff::2 65535 65535\r\n",
        b"PROXY UNKNOWN\r\n",
        v2(V4) + b"\x16\x03\x01",
        v2(V6, family=0x21),
        v2(bytes(216) + tls, family=0x31),
        v2(V4 + b"\x04\0\x02ab" + tls),
        v2(b"", command=0x20, family=0),
        v2(V4, family=0x12),
        v2(b"", length=5000),
    )


def _calls() -> tuple[bytes, ...]:
    bodies = (
        {"channel": "orders:7", "data": {"a": [1, None, "ü"]}, "idempotency_key": "x", "tags": None},
        {"channel": "broken:x", "b64data": "AAE=", "skip_history": True},
        {"channels": ["orders:7", "kept:a", "full"], "data": "x"},
        {"user": "ann", "channel": "news", "client": "c", "session": "s", "recover_since": {"epoch": "e1"}},
        {"user": "ann", "whitelist": ["c"], "disconnect": {"code": 4000, "reason": "bye"}},
        {"channel": "kept:a", "limit": -1, "since": {"epoch": "e1", "offset": 1}, "reverse": True},
        {"pattern": "chat:*"},
        {"commands": [{"publish": {"channel": "orders:1", "data": 1}}, {"info": {}}, {"batch": {}}], "parallel": True},
    )
    return tuple(bytes([number]) + msgspec.json.encode(body) for number in range(len(METHODS)) for body in bodies)


def _commands() -> tuple[bytes, ...]:
    lines = (
        b'{"id":1,"connect":{"token":"x","data":{"a":1},"subs":{"lobby":{"recover":true,"epoch":"e","offset":6}}}}',
        b'{"id":2,"subscribe":{"channel":"tea","recover":true,"epoch":"e","offset":3,"token":"t","data":[1]}}',
        b'{"id":3,"publish":{"channel":"tea","data":{"text":"\\ud83d hi"}}}',
        b'{"id":4,"rpc":{"method":"m","data":[1,2.5,null]}}\n{"send":{"data":"drop"}}\n{"id":5,"send":{"data":"reject"}}',
        b'{"id":6,"history":{"channel":"tea","limit":10,"since":{"epoch":"e","offset":1},"reverse":true}}',
        b'{"id":7,"presence":{"channel":"tea"}}\n{"id":8,"presence_stats":{"channel":"lobby"}}',
        b'{"id":9,"sub_refresh":{"channel":"tea","token":"no"}}\n{"id":10,"refresh":{"token":"x"}}',
        b'{"id":11,"unsubscribe":{"channel":"tea"}}\n{}\n{"id":12,"ping":{}}\n{"id":13}',
    )
    whole = b"\n".join(lines)
    ones = tuple(b"\0" + lines[0] + b"\n" + line for line in lines[1:])
    return (b"\0" + whole, b"\1" + whole, b"\1" + b"\n".join([*lines[::-1], *lines]), *ones)


def _emulated() -> tuple[bytes, ...]:
    return (
        b'{"session":"s","node":"n","data":"{\\"id\\":1,\\"ping\\":{}}\\n{}"}',
        b'{"session":"s","data":{"id":1,"rpc":{"data":[{},[]]}}}',
        b'{"data":"","session":"\\u00e9\\ud83d"}',
    )


def _events() -> tuple[bytes, ...]:
    return (b"hello", b"a\r\nb\rc\nd", b"e:7", b"\xef\xbb\xbf: x\n\ndata: y", b'{"a":\n[1]}', "\u2028\0".encode())


TARGETS = {
    "head": Target(checks.head, _heads(), 40_000),
    "api": Target(checks.api_body, _calls(), 10_000),
    "frames": Target(checks.stream_of_frames, _frames(), 6_000),
    "frames-pure": Target(checks.stream_of_frames, _frames(), 6_000, environ={"FWS_PURE": "1"}),
    # Both readers of TOML are quadratic in places; the loader's bounds keep that below a second or so.
    "toml": Target(checks.file_of_toml, _tomls(), 20_000, seconds=2.0, per_kib=0.05),
    "jwt": Target(checks.token, _tokens(), 10_000),
    "proxy": Target(checks.proxy, _proxies(), 6_000),
    "commands": Target(protocols.commands, _commands(), 10_000),
    "emulated": Target(protocols.emulated, _emulated(), 10_000),
    "events": Target(protocols.events, _events(), 10_000),
}


def found(name: str) -> list[Path]:
    """Files with inputs that once broke a target."""
    return sorted((FOUND / name).glob("*"))

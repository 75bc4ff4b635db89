"""What must hold for any bytes, with one function per parser. They raise AssertionError, or the parser's exception."""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import random
import time
import tomllib
import zlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any
from unittest import mock

import h11
import msgspec
import toml as toml_package
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature
from jwt.utils import base64url_decode

from fws.api.keys import Key as ApiKey
from fws.api.methods import METHODS
from fws.api.runner import Runner, Stream
from fws.auth.claims import Rules, Trusted, verify
from fws.auth.credential import Denied, find, fresh, of_message
from fws.auth.keys import Key, Keys, key_of, keys_of_set
from fws.base.errors import ConfigError, Refusal
from fws.base.metrics import Metrics
from fws.base.problem import Problem
from fws.compiler.compile import generation_of
from fws.config import parse, place_problems, read
from fws.wire import frames
from fws.wire.deflate import Agreement, Inflater, deflate
from fws.wire.encoding import frame_of
from fws.wire.frames import BINARY, CLOSE, PING, PONG, TEXT, Decoder, PeerClose, Ping, Pong, Violation
from fws.wire.head import MAX_HEAD, Head, HeadReader, Takes
from fws.wire.proxy import ProxyError, Source, header_end, normal, parse_proxy
from fws.wire.request import Request
from tests.api.fake import FakeCommands, FakeOperator
from tests.auth.pairs import NOW, SECRET, encoded, private, public
from tests.wire.octets import client_frame, feed_pieces, is_terminal, outline

Check = Callable[[bytes], None]


class Slow(AssertionError):
    """A case takes too much time for its length."""


def within(check: Check, data: bytes, most: float, per_kib: float) -> None:
    """Run a check. Raises Slow if it takes more processor time than `most` plus `per_kib` seconds in three runs."""
    limit = most + per_kib * len(data) / 1024
    spent = []
    for _ in range(3):
        before = time.thread_time()
        check(data)
        spent.append(time.thread_time() - before)
        if spent[-1] <= limit:
            return
    raise Slow(f"{min(spent):.3f} s for {len(data)} bytes; at most {limit:.3f} s")


def cuts(data: bytes) -> Iterator[list[bytes]]:
    """The bytes cut in two ways that depend on them, and byte by byte."""
    for salt in range(2):
        chance = random.Random(zlib.crc32(data, salt))
        edges = sorted(chance.randint(0, len(data)) for _ in range(chance.randint(1, 6)))
        yield [data[start:end] for start, end in zip([0, *edges], [*edges, len(data)], strict=True)]
    if len(data) <= 512:
        yield [data[index : index + 1] for index in range(len(data))]


# The request head.


def head_outcome(pieces: Sequence[bytes]) -> tuple[Any, ...]:
    """The result for a peer: the head and the rest, the status of a refusal, or that more bytes are needed."""
    reader = HeadReader()
    for number, piece in enumerate(pieces):
        try:
            head = reader.feed(piece)
        except Refusal as refusal:
            return ("refused", refusal.status)
        if head is not None:
            return ("head", head, reader.rest + b"".join(pieces[number + 1 :]))
    return ("more",)


def taking(path: str) -> Takes | None:
    """Every path below /api takes a body of up to 1,000 bytes."""
    return Takes(body=1000) if path.startswith("/api") else None


def requests(stream: bytes) -> None:
    """A request with a body ends where h11 says, and a stream that h11 refuses has no body here."""
    reader = HeadReader(taking=taking)
    try:
        found = reader.feed(stream)
    except Refusal:
        return
    if found is None or found.method != "POST":
        return
    body = reader.rest[: found.length]
    theirs = h11.Connection(h11.SERVER, max_incomplete_event_size=2 * MAX_HEAD)
    theirs.receive_data(stream.lstrip(b"\r\n"))
    request = theirs.next_event()
    assert isinstance(request, h11.Request)
    assert (request.method, found.path.startswith("/api")) == (b"POST", True)
    assert theirs.they_are_waiting_for_100_continue == found.waits_for_continue
    received = b""
    while isinstance(event := theirs.next_event(), h11.Data):
        received += event.data
    assert received == body
    assert isinstance(event, h11.EndOfMessage) == (len(body) == found.length)
    if isinstance(event, h11.EndOfMessage):
        assert theirs.trailing_data[0] == reader.rest[found.length :]


def head(stream: bytes) -> None:
    """The result does not depend on how the bytes are cut. h11 reads accepted heads in the same way, and so does our
    reader if they are written again. The only known difference is an empty line before the request, which h11 refuses.
    """
    requests(stream)
    result = head_outcome([stream])
    for pieces in cuts(stream):
        assert head_outcome(pieces) == result
    if result[0] != "head":
        return
    _, found, rest = result
    theirs = h11.Connection(h11.SERVER, max_incomplete_event_size=2 * MAX_HEAD)
    theirs.receive_data(stream.lstrip(b"\r\n"))
    request = theirs.next_event()
    assert isinstance(request, h11.Request)
    target, host = origin_form(request.target.decode())
    version = "1.0" if request.http_version == b"1.0" else "1.1"
    assert (request.method.decode(), target, version) == (found.method, found.target, found.version)
    theirs_by_name: dict[str, tuple[str, ...]] = {}
    for name, value in request.headers:
        key = name.decode()
        theirs_by_name[key] = (*theirs_by_name.get(key, ()), value.decode("latin-1"))
    if host:
        theirs_by_name["host"] = (host,)
    assert theirs_by_name == {name: found.all(name) for name in found.headers}
    assert theirs.trailing_data[0] == rest
    assert head_outcome([written(found)])[1] == found
    for place in ("header", "cookie", "subprotocol", "query"):
        try:
            token = find(Request(found, {}, ""), (place,), "token", "token")
        except Denied as denied:
            assert denied.cause == "malformed", denied
            continue
        assert token is None or (token.isascii() and token.isprintable() and " " not in token)


def api_body(data: bytes) -> None:
    """The first byte chooses a method, and the others are the body. A call gives a reply, or says what is wrong with
    the body; no body makes the API fail inside, and a key for one channel publishes nowhere else.
    """
    method = METHODS[data[0] % len(METHODS)] if data else METHODS[0]
    for key in (ApiKey("all", "a", admin=True), ApiKey("shop", "s", publish=["orders:*"])):
        commands = FakeCommands()
        failures: dict[str, BaseException] = {}
        caller = Runner(commands, FakeOperator(), Metrics(), lambda: 0.0, failures.__setitem__)
        try:
            reply: Any = caller.call(key, method.name, data[1:])
            if isinstance(reply, Stream):
                reply.close()
                reply = {}
            msgspec.json.encode(reply)
        except (ValueError, Refusal):
            reply = {}
        assert reply.keys() <= {"result", "error", "replies"}
        assert not [error for error in failures.values() if not str(error).startswith(("a bug", "Redis is away"))]
        if not key.admin:
            assert all(call[0] == "publish" and call[1].startswith("orders:") for call in commands.asked)


def origin_form(target: str) -> tuple[str, str]:
    """A target in origin-form, and the host of one in absolute-form, which replaces `Host` (RFC 9112 3.2.2)."""
    if target.startswith("/"):
        return target, ""
    rest = target.partition("://")[2]
    cut = min(rest.index(mark) for mark in "/?" if mark in rest) if "/" in rest or "?" in rest else len(rest)
    host, rest = rest[:cut], rest[cut:]
    return rest if rest.startswith("/") else f"/{rest}", host


def written(found: Head) -> bytes:
    headers = [f"{name}: {value}" for name in found.headers for value in found.all(name)]
    lines = [f"{found.method} {found.target} HTTP/{found.version}", *headers, "", ""]
    return "\r\n".join(lines).encode("latin-1")


# Frames.

LIMIT = 2000
AGREEMENTS = (None, Agreement("", 15, 15, True), Agreement("", 15, 15, False), Agreement("", 15, 9, False))


def decoder(agreement: Agreement | None) -> Decoder:
    return Decoder(LIMIT, inflater=None if agreement is None else Inflater(agreement), max_fragments=6)


def stream_of_frames(data: bytes) -> None:
    """The first byte selects whether compression was agreed on, and the others are sent by the client.

    The events do not depend on how the bytes are cut, and are the same with and without the compiled part. Nothing
    follows a final event. Messages are within the limit. Events are read in the same way if they are written again, by
    a client and by the server.
    """
    agreement, stream = AGREEMENTS[data[0] & 3] if data else None, data[1:]
    events = decoder(agreement).feed(stream)
    whole = outline(events)
    for pieces in cuts(stream):
        assert outline(feed_pieces(decoder(agreement), pieces)) == whole
    with mock.patch.object(frames, "decode", None):
        assert decoder(agreement).feed(stream) == events
    assert not any(is_terminal(event) for event in events[:-1])
    again = b""
    for event in events:
        if isinstance(event, Violation):
            assert frames.close(event.code, event.reason)
            continue
        opcode, payload = payload_of(event)
        again += client_frame(opcode, payload)
        if isinstance(event, str | bytes):
            assert len(payload) <= LIMIT
            assert unframed(frame_of(event)) == (opcode, payload)
            packed = deflate(payload, 15)
            assert decoder(AGREEMENTS[1]).feed(client_frame(opcode, packed, rsv=4)) == [event] or len(packed) > LIMIT
    assert decoder(None).feed(again) == [event for event in events if not isinstance(event, Violation)]


def payload_of(event: Any) -> tuple[int, bytes]:
    match event:
        case str():
            return TEXT, event.encode()
        case bytes():
            return BINARY, event
        case Ping():
            return PING, event.payload
        case Pong():
            return PONG, event.payload
        case PeerClose():
            return CLOSE, b"" if event.code == 1005 else event.code.to_bytes(2) + event.reason.encode()
    raise AssertionError(event)


def unframed(data: bytes) -> tuple[int, bytes]:
    """Reads a server's frame in the simplest way."""
    assert data[0] & 0xF0 == 0x80
    start = {126: 4, 127: 10}.get(data[1], 2)
    length = data[1] if start == 2 else int.from_bytes(data[2:start])
    assert len(data) == start + length
    return data[0] & 15, data[start:]


# TOML.

ENVIRON = {"X": "${Y} {room} [x]"}


def problems_of(text: str) -> list[Problem]:
    """Every problem of a text, as `fws check` reports them."""
    try:
        document = parse(text, "/nowhere/conf.toml")
    except ConfigError as error:
        return list(error.problems)
    assert document.tree == tomllib.loads(text) or "nan" in text
    assert document.tree == toml_package.loads(text) or "nan" in text
    _, problems = read(document, ENVIRON)
    if problems:
        return place_problems(problems, document.source)
    try:
        generation_of(document, ENVIRON)
    except ConfigError as error:
        return list(error.problems)
    return []


def text_of_toml(text: str) -> None:
    """The result is a configuration, or problems with places in the text. Both TOML readers agree on valid texts."""
    lines = text.split("\n")
    for problem in problems_of(text):
        place = problem.place
        assert place is not None
        assert problem.message
        if place.line:
            line = lines[place.line - 1].rstrip("\r")
            # Secrets have a star for each character.
            assert len(place.text) == len(line)
            assert all(shown in (written, "*") for shown, written in zip(place.text, line, strict=True))
            assert 1 <= place.column <= len(lines[place.line - 1]) + 1
        assert str(problem).startswith("/nowhere/conf.toml:")


def file_of_toml(data: bytes) -> None:
    text_of_toml(data.decode("utf-8", "replace"))


# Tokens.

CHOSEN = ("HS256", "EdDSA", "ES256", "RS256")
RULES = Rules(required=("exp",))


def _keys(algorithm: str) -> Keys:
    return Keys([Key(None, key_of(algorithm, public(algorithm).encode()))])


KEYS = {algorithm: _keys(algorithm) for algorithm in CHOSEN}


def token(data: bytes) -> None:
    """Only tokens that our key has signed with the configured algorithm are accepted, whatever the header says. Two
    bytes select the algorithm and the signer. Then header, claims and signature follow, each on a line.
    """
    algorithm, signer = CHOSEN[data[0] & 3] if data else "HS256", data[1] % 6 if len(data) > 1 else 0
    head, _, rest = data[2:].partition(b"\n")
    claims, _, change = rest.partition(b"\n")
    signed = f"{encoded(head)}.{encoded(claims)}"
    if signer == 5:  # any text at all
        shown = data[2:].decode("latin-1")
    elif signer == 4:  # any signature
        shown = f"{signed}.{encoded(change)}"
    elif signer == 3:  # the public key as a secret
        mac = hmac.new(public(algorithm, 1 if algorithm == "HS256" else 0).encode(), signed.encode(), hashlib.sha256)
        shown = f"{signed}.{encoded(b'' if algorithm == 'HS256' else mac.digest())}"
    else:  # 0: ours, 1: another key's, 2: ours, with bits turned
        signature = bytearray(sign(algorithm, signed.encode(), number=signer & 1))
        if signer == 2:
            for index, bits in enumerate(change[: len(signature)]):
                signature[index] ^= bits
        shown = f"{signed}.{encoded(bytes(signature))}"
    try:
        found = verify(shown, [Trusted(algorithm, KEYS[algorithm])], RULES, lambda: NOW)
    except Denied as denied:
        assert denied.status == 401
        assert denied.cause
    else:
        assert found["exp"] > NOW
        assert is_ours(algorithm, shown)
        assert signer in (0, 2, 4, 5) or algorithm == "HS256"
    for reader in (of_message, fresh):
        try:
            reader(data[2:].decode("latin-1"))
        except Denied:
            pass
    try:
        keys_of_set(algorithm, data[2:])
    except ValueError as error:
        assert type(error) is ValueError, error


def sign(algorithm: str, data: bytes, number: int = 0) -> bytes:
    if algorithm == "HS256":
        return hmac.new(SECRET.encode() if number == 0 else b"x" * 64, data, hashlib.sha256).digest()
    key = private(algorithm, number)
    signature: bytes
    if algorithm == "RS256":
        signature = key.sign(data, padding.PKCS1v15(), hashes.SHA256())
    elif algorithm == "EdDSA":
        signature = key.sign(data)
    else:
        pair = decode_dss_signature(key.sign(data, ec.ECDSA(hashes.SHA256())))
        signature = b"".join(part.to_bytes(32) for part in pair)
    return signature


def is_ours(algorithm: str, shown: str) -> bool:
    """Whether our key has signed a token, without using PyJWT."""
    text, _, last = shown.rpartition(".")
    data, signature = text.encode(), base64url_decode(last)
    if algorithm == "HS256":
        return hmac.compare_digest(signature, sign(algorithm, data))
    key = private(algorithm).public_key()
    try:
        if algorithm == "RS256":
            key.verify(signature, data, padding.PKCS1v15(), hashes.SHA256())
        elif algorithm == "EdDSA":
            key.verify(signature, data)
        else:
            r, s = int.from_bytes(signature[:32]), int.from_bytes(signature[32:])
            key.verify(encode_dss_signature(r, s), data, ec.ECDSA(hashes.SHA256()))
    except InvalidSignature:
        return False
    return True


# PROXY headers.


def proxy(data: bytes) -> None:
    """The end of a header depends on its own bytes only, and the address is the one in the header."""
    ends = [_end(data[:size]) for size in range(min(len(data), 400) + 1)]
    decided = next((index for index, found in enumerate(ends) if found is not None), None)
    end = _end(data)
    if decided is not None:
        assert set(ends[decided:]) == {ends[decided]}
        assert end == ends[decided]
    if end is None or isinstance(end, str):
        return  # unfinished, or refused
    assert end == decided or end > 400, "decided with its last byte, not before and not after"
    header = data[:end]
    assert _end(header) == end
    try:
        source = parse_proxy(header)
    except ProxyError:
        return
    if header[:1] == b"P":
        assert header.endswith(b"\r\n")
        assert header.count(b"\r\n") == 1
        words = header[:-2].decode("ascii").split(" ") if source is not None else []
        if source is not None:
            assert source == Source(normal(str(ipaddress.ip_address(words[2]))))
        return
    assert end == 16 + int.from_bytes(header[14:16])
    if source is not None and source.address:
        size = {0x10: 4, 0x20: 16}[header[13] & 0xF0]
        assert source.address == normal(str(ipaddress.ip_address(header[16 : 16 + size])))


def _end(data: bytes) -> int | str | None:
    try:
        return header_end(data)
    except ProxyError:
        return "refused"

"""The language of transcripts: one statement per line.

    # a comment
    ann> connect /chat?room=tea token=secret     ann connects; also user= claims= origin= address= and any Header=value
    ann> {"type":"chat","text":"hi"} x3          ann sends a message, three times
    bob< {"type":"chat","text":"hi", …} x3       bob must receive this, in this order
    bob< nothing                                 bob must receive nothing (more)
         drop message/rate_limit                 one of ann's messages is dropped at this stage
    ann> close 1000 bye                          ann closes the connection
    ann< close 4001 …                            ann's connection must be closed with this code
    eve< refuse 401 …                            the connection that eve has just asked for is refused
    pub chat.news {"text":"hi"}                  another application publishes to a channel
    wait 1s                                      time passes
    ann@a> connect /                             ann connects to the node a

An action (a line with `>`, `pub` or `wait`) and the expectations below it are a *turn*. What arrives in a turn and is
not expected there makes the transcript fail. A backslash at the beginning of a message sends or expects it literally:
`ann> \\close` sends the text "close".
"""

from __future__ import annotations

import json
import re
from typing import Any

import msgspec

from fws.base.close_codes import ABNORMAL, NO_STATUS, valid_close_code
from fws.base.units import parse_duration
from fws.transcripts.pattern import Pattern, binary_of

# A transcript of this many statements, counting repetitions, is a mistake.
MAX_TIMES = 100_000
OUTCOMES = ("drop", "error", "close", "refuse")

_NAME = r"[A-Za-z][A-Za-z0-9_-]*"
_SPOKEN = re.compile(rf"({_NAME})(?:@({_NAME}))?(>|<)(?:\s(.*)|\s*)\Z")
_TIMES = re.compile(r"(?:\A|\s+)x([1-9][0-9]{0,5})\Z")
_ARGUMENT = re.compile(r"""\s*(?:([A-Za-z][A-Za-z0-9_-]*)=)?("(?:[^"\\]|\\.)*"|'[^']*'|[^\s]+)""")
_CODE = re.compile(r"([1-9][0-9]{2,3})(?:\s+(.*))?\Z")


class Statement(msgspec.Struct, frozen=True, kw_only=True):
    """One line of a transcript.

    Attributes:
        line: its number in the script, from 1.
        text: the line as it is written.
    """

    line: int = 0
    text: str = ""


class Action(Statement, frozen=True):
    """Something that the outside world does. It begins a turn."""


class Connect(Action, frozen=True):
    """A client asks for a connection.

    Attributes:
        node: the node that it connects to.
        target: path and query.
        headers: further headers of the request.
        token: sent as `Authorization: Bearer`; empty for none.
        user, claims: a token is made for this user with these claims, by the endpoint's own login; None for none.
        address: the IP address that it comes from.
    """

    client: str
    node: str
    target: str
    headers: tuple[tuple[str, str], ...] = ()
    token: str = ""
    user: str | None = None
    claims: dict[str, Any] = {}
    address: str = "192.0.2.1"


class Say(Action, frozen=True):
    """A client sends a message, `times` times in a row."""

    client: str
    message: str | bytes
    times: int = 1


class Leave(Action, frozen=True):
    """A client ends its connection: with a Close frame, or without one if `code` is 1006."""

    client: str
    code: int
    reason: str


class Wait(Action, frozen=True):
    """Time passes on all nodes."""

    seconds: float


class Publish(Action, frozen=True):
    """Another application publishes a message to a channel."""

    channel: str
    message: str | bytes


class Expectation(Statement, frozen=True):
    """Something that must have happened in the turn."""


class Receives(Expectation, frozen=True):
    """A client has received messages that match a pattern, `times` in a row."""

    client: str
    pattern: Pattern
    times: int = 1


class Nothing(Expectation, frozen=True):
    """A client has received nothing else."""

    client: str


class Closed(Expectation, frozen=True):
    """A client's connection was closed by the server, or the connection that it asked for was refused.

    Attributes:
        code: the close code, or the HTTP status of a refusal; 0 for any.
        reason: a pattern for its reason; None for any.
    """

    client: str
    refused: bool
    code: int
    reason: Pattern | None


class Outcome(Expectation, frozen=True):
    """A stage has dropped what flowed, failed, closed the connection, or refused the client.

    Attributes:
        kind: one of `OUTCOMES`.
        path: the endpoint; empty for any.
        stage: `EVENT/STAGE`, or only the event; empty for any.
        times: how often.
    """

    kind: str
    path: str
    stage: str
    times: int = 1


class ScriptError(ValueError):
    """A line that is not a statement.

    Args:
        message: what is wrong.
        line: the number of the line, from 1.
        hint: what would be right; may be empty.
    """

    def __init__(self, message: str, line: int = 1, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.line = line
        self.hint = hint


def parse_script(script: str) -> tuple[list[Statement], list[ScriptError]]:
    """The statements of a script, and every mistake in it."""
    statements: list[Statement] = []
    errors: list[ScriptError] = []
    connected: set[str] = set()
    for number, text in enumerate(script.split("\n"), 1):
        if not text.strip() or text.lstrip().startswith("#"):
            continue
        try:
            statement = parse_line(text, number, connected)
            if isinstance(statement, Expectation) and not any(isinstance(one, Action) for one in statements):
                raise ScriptError("nothing has happened yet", number, "write `NAME> connect /PATH` first")
        except ScriptError as error:
            errors.append(error)
        else:
            statements.append(statement)
    return statements, errors


def parse_line(text: str, number: int, connected: set[str]) -> Statement:
    """One statement.

    Args:
        connected: the clients that are connected before this line; it is updated. For a client that is not connected,
            only `connect` makes sense.

    Raises:
        ScriptError: the line is not a statement.
    """
    try:
        return _statement(text.rstrip(), number, connected)
    except ScriptError:
        raise
    except ValueError as error:
        raise ScriptError(str(error), number) from None


def _statement(text: str, number: int, connected: set[str]) -> Statement:
    place: dict[str, Any] = {"line": number, "text": text}
    if text[0].isspace():
        return _outcome(text.split(), place)
    if (spoken := _SPOKEN.match(text)) is not None:
        client, node, direction, rest = spoken[1], spoken[2] or "", spoken[3], (spoken[4] or "").strip()
        if direction == "<":
            return _expected(client, rest, place, connected)
        return _done(client, node, rest, place, connected)
    word, _, rest = text.partition(" ")
    if word == "wait":
        return Wait(seconds=parse_duration(rest.strip()), **place)
    if word == "pub":
        channel, _, message = rest.strip().partition(" ")
        if not channel:
            raise ValueError("name a channel and a message: pub lobby hello")
        return Publish(channel=channel, message=_literal(message.strip()), **place)
    hint = "write `NAME> …` for what a client sends, `NAME< …` for what it receives, `pub CHANNEL …` or `wait 1s`"
    raise ScriptError(f"{text.strip()[:40]!r} is not a statement", number, hint)


def _done(client: str, node: str, rest: str, place: dict[str, Any], connected: set[str]) -> Statement:
    word, _, argument = rest.partition(" ")
    if client not in connected:
        if word != "connect":
            raise ScriptError(f"{client} is not connected", place["line"], f"write `{client}> connect /` first")
        connected.add(client)
        return _connect(client, node, argument.strip(), place)
    if node:
        raise ScriptError("the node is named where the client connects", place["line"], f"write `{client}> …`")
    if word == "close" and ((match := _CODE.match(argument.strip())) is not None or not argument.strip()):
        connected.discard(client)
        code, reason = (int(match[1]), match[2] or "") if match is not None else (1000, "")
        if not valid_close_code(code) and code not in (NO_STATUS, ABNORMAL):
            codes = "1000-1003, 1007-1014 or 3000-4999; 1006 cuts the connection"
            raise ScriptError(f"no client may close with {code}", place["line"], codes)
        return Leave(client=client, code=code, reason=reason, **place)
    message, times = _repeated(rest)
    return Say(client=client, message=_literal(message), times=times, **place)


def _connect(client: str, node: str, rest: str, place: dict[str, Any]) -> Connect:
    target = ""
    given: dict[str, Any] = {}
    headers: list[tuple[str, str]] = []
    position = 0
    while (match := _ARGUMENT.match(rest, position)) is not None:
        key, value = match[1], match[2]
        position = match.end()
        if value[0] in "\"'":
            value = json.loads(value) if value[0] == '"' else value[1:-1]
        if key is None:
            if target:
                raise ValueError(f"{value!r} is not an argument: write Header=value, with quotes around blanks")
            target = value
        elif key in ("token", "user", "address"):
            given[key] = value
        elif key == "claims":
            given[key] = _claims(value)
        else:
            headers.append((_header(key), value))
    target = target or "/"
    if not target.startswith("/"):
        raise ValueError(f"a path begins with /, unlike {target!r}")
    if not target.isascii() or not target.isprintable():
        raise ValueError("a path has visible ASCII characters only: write others as %XX")
    return Connect(client=client, node=node, target=target, headers=tuple(headers), **given, **place)


def _claims(text: str) -> dict[str, Any]:
    try:
        claims = json.loads(text)
    except (ValueError, RecursionError):
        claims = None
    if not isinstance(claims, dict):
        raise ValueError('claims are a JSON object: claims=\'{"role":"admin"}\'')
    return claims


def _header(key: str) -> str:
    """`origin=…` and `subprotocol=…` are short for the headers with these meanings."""
    return {"origin": "Origin", "subprotocol": "Sec-WebSocket-Protocol", "cookie": "Cookie"}.get(key, key)


def _expected(client: str, rest: str, place: dict[str, Any], connected: set[str]) -> Expectation:
    word, _, argument = rest.partition(" ")
    if rest == "nothing":
        return Nothing(client=client, **place)
    if word in ("close", "refuse"):
        argument = argument.strip()
        match = _CODE.match(argument)
        if match is not None or argument in ("", "…", "..."):
            reason = Pattern(match[2]) if match is not None and match[2] else None
            code = int(match[1]) if match is not None else 0
            connected.discard(client)
            return Closed(client=client, refused=word == "refuse", code=code, reason=reason, **place)
    text, times = _repeated(rest)
    if not text:
        raise ValueError(f"write what {client} receives: a message, `…` for any, or `nothing`")
    return Receives(client=client, pattern=Pattern(text.removeprefix("\\")), times=times, **place)


def _outcome(words: list[str], place: dict[str, Any]) -> Outcome:
    kind, *rest = words
    if kind not in OUTCOMES:
        hint = "an indented line begins with one of " + ", ".join(OUTCOMES)
        raise ScriptError(f"{kind!r} is not an outcome", place["line"], hint)
    times = 1
    if rest and (match := _TIMES.match(rest[-1])) is not None:
        times = int(match[1])
        rest.pop()
    path = rest.pop(0) if rest and (rest[0].startswith("/") or rest[0] == "*") else ""
    stage = rest.pop(0) if rest else ""
    if rest:
        raise ScriptError(f"{rest[0]!r} is too much", place["line"], f"write `{kind} EVENT/STAGE`")
    return Outcome(kind=kind, path=path, stage=stage, times=times, **place)


def _repeated(text: str) -> tuple[str, int]:
    """A message without its suffix `x10`, and the number."""
    match = _TIMES.search(text)
    if match is None or match.start() == 0:
        return text, 1
    if int(match[1]) > MAX_TIMES:
        raise ValueError(f"at most {MAX_TIMES} times")
    return text[: match.start()], int(match[1])


def _literal(text: str) -> str | bytes:
    """A message as it is sent."""
    binary = binary_of(text)
    return text.removeprefix("\\") if binary is None else binary

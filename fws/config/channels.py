"""`[channels."pattern"]`: settings of the channels whose names match a pattern, and which pattern applies to a name.

chat:{room}      a name matches up to the next ":":  chat:tea, not chat:tea:archive
user:{id}:*      a final * matches the rest:         user:7:orders, user:7:
lobby            literal text

The most specific pattern that matches a name applies as a whole: the one with more literal characters, and among these
the one without `*`. Two patterns that are equally specific and can match the same name are a problem of the file.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import Meta

from fws.base.units import Duration, Size
from fws.pipeline.condition import Condition, Term
from fws.pipeline.options import Help
from fws.pipeline.publication import MAX_CHANNEL

_NAME = re.compile(r"\{([a-z_][a-z0-9_]*)\}")
# Braces select the slot of a key in a Redis Cluster. Names that contain them match no pattern, so that all keys of a
# channel can be in the slot of the channel.
_ONE: Final = r"[^:{}*]+"
_REST: Final = r"[^{}*]*"
# Names whose rule is remembered. Clients can choose names, so that the number must be bounded.
REMEMBERED: Final = 10_000


class Channel(msgspec.Struct, frozen=True, kw_only=True):
    """Settings of the channels whose names match a pattern."""

    history: Annotated[
        int,
        Meta(ge=0, le=1_000_000),
        Help("The number of publications that a channel keeps, for clients that join later or return; 0 for none."),
    ] = 0
    history_age: Annotated[
        Duration, Meta(gt=0, le=365 * 86400.0), Help("The age up to which a channel keeps its publications.")
    ] = 86400.0
    history_size: Annotated[
        Size, Meta(ge=1024), Help("The most bytes that the publications of one channel take together.")
    ] = 1024**2
    presence: Annotated[bool, Help("Whether it is known who is a member, on all nodes.")] = False
    presence_info: Annotated[
        list[Term],
        Help(
            'What is shown about each member, as conditions name it: ["identity.name", "state.nick"]. The last part is '
            "its name."
        ),
    ] = []
    announce: Annotated[
        bool,
        Help("Whether members are told who is present and who joins and leaves, in at most four messages per second."),
    ] = False
    announce_max: Annotated[
        int, Meta(ge=0, le=10_000), Help("With more members than this, only their number is announced.")
    ] = 1000
    linger: Annotated[
        Duration,
        Meta(ge=0, le=3600.0),
        Help("A user who leaves and returns within this time has neither left nor joined. It needs an identity.user."),
    ] = 0.0

    slow: Annotated[
        Literal["close", "drop_oldest", "latest"],
        Help(
            "What happens to a member that does not keep up: its connection is closed, the oldest publications that "
            "wait for it are dropped, or all but the latest."
        ),
    ] = "close"
    subscribe: Annotated[
        Condition | None,
        Help(
            "Condition under which a client may request the channel itself, as in `when`; the pattern's names and "
            "`channel` are available. Without it, no client may. `join` in a pipeline needs no condition."
        ),
    ] = None
    subscribe_patterns: Annotated[
        bool,
        Help(
            'Whether clients may subscribe to patterns such as "device:*:temperature". The condition `subscribe` must '
            "hold, and cannot use the pattern's names and `channel`, because a pattern stands for many channels."
        ),
    ] = False
    publish: Annotated[
        Condition | None,
        Help(
            "Condition under which a client may publish to the channel itself; fields of the message are available "
            "too. Without it, no client may. `broadcast` and `publish` in a pipeline need no condition."
        ),
    ] = None

    @property
    def kept(self) -> bool:
        """Whether the channel keeps publications."""
        return self.history > 0


def info_names(terms: Sequence[Term]) -> list[str]:
    """The names under which `presence_info` shows values: the last part of each."""
    return [re.split(r"[.\[]", str(term))[-1].strip("]'\"") for term in terms]


class ChannelPattern(msgspec.Struct, frozen=True):
    """A pattern for the names of channels.

    Attributes:
        text: as written.
        parts: literal text, `{name}` and `*`, in order.
    """

    text: str
    parts: tuple[str, ...]

    @classmethod
    def parse(cls, text: str) -> ChannelPattern:
        """Read a pattern.

        Raises:
            ValueError: says what is wrong, and what would be right.
        """
        if not text:
            raise ValueError('a pattern is not empty: write the name of a channel, or "*" for all channels')
        if len(text.encode("utf-8", "replace")) > MAX_CHANNEL:
            raise ValueError(f"a pattern has at most {MAX_CHANNEL} bytes, as the names of channels")
        parts: list[str] = []
        names: set[str] = set()
        position = 0
        while position < len(text):
            char = text[position]
            if char == "{":
                match = _NAME.match(text, position)
                if match is None:
                    raise ValueError("write a name between { and }, such as chat:{room}")
                if match[1] in names:
                    raise ValueError(f"the name {match[1]!r} appears twice")
                if match[1] == "channel":
                    raise ValueError("{channel} is the name of the whole channel in conditions: choose another name")
                if parts and parts[-1].startswith("{"):
                    raise ValueError("two names need some text between them, such as {room}:{user}")
                names.add(match[1])
                parts.append(match[0])
                position = match.end()
            elif char == "*":
                if position != len(text) - 1:
                    raise ValueError("* stands at the end only: write {name} for a part in the middle")
                parts.append("*")
                position += 1
            elif char in "}?[" or not char.isprintable():
                raise ValueError(f"no channel that a pattern matches can have the character {char!r} in its name")
            else:
                end = min((text.find(mark, position) for mark in "{}*?[" if mark in text[position:]), default=len(text))
                if not text[position:end].isprintable():
                    raise ValueError("names of channels have no control characters")
                parts.append(text[position:end])
                position = end
        return cls(text, tuple(parts))

    @property
    def names(self) -> tuple[str, ...]:
        """The names of its parts, for conditions."""
        return tuple(part[1:-1] for part in self.parts if part.startswith("{"))

    @property
    def specificity(self) -> tuple[int, bool]:
        """A more specific pattern has a greater value: first by literal characters, then `{name}` over `*`."""
        literal = sum(len(part) for part in self.parts if part != "*" and not part.startswith("{"))
        return literal, self.parts[-1] != "*"

    @property
    def expression(self) -> re.Pattern[str]:
        """A regular expression that matches the same names, with a group for each name."""
        return re.compile("".join(map(_expression, self.parts)))

    @property
    def glob(self) -> str:
        """A pattern of Redis that matches at least the same names."""
        return "".join(
            "*" if part == "*" or part.startswith("{") else re.sub(r"([*?\[\]\\])", r"\\\1", part)
            for part in self.parts
        )

    def overlaps(self, other: ChannelPattern) -> bool:
        """Whether some name matches both patterns.

        Both are read at once, one character of an imagined name after the other (the product of two automata).
        """
        mine, others = list(_elements(self.parts)), list(_elements(other.parts))
        # A character that neither pattern has stands for all such characters.
        alphabet = {element for element in (*mine, *others) if len(element) == 1} | {":", "\0"}
        found = {(0, 0)}
        waiting = deque(found)
        while waiting:
            here, there = waiting.popleft()
            if here == len(mine) and there == len(others):
                return True
            steps = [(after, there) for after in _skipped(mine, here)]
            steps += [(here, after) for after in _skipped(others, there)]
            for char in alphabet:
                steps += [(one, two) for one in _taken(mine, here, char) for two in _taken(others, there, char)]
            for step in steps:
                if step not in found:
                    found.add(step)
                    waiting.append(step)
        return False


def _escaped(part: str) -> str:
    return re.sub(r"([*?\[\]\\])", r"\\\1", part)


def _expression(part: str) -> str:
    if part == "*":
        return _REST
    return f"(?P<{part[1:-1]}>{_ONE})" if part.startswith("{") else re.escape(part)


def _elements(parts: Iterable[str]) -> Iterator[str]:
    """The elements of an automaton: a literal character, `one` of a name, `more` of it, or `rest`."""
    for part in parts:
        if part == "*":
            yield "rest"
        elif part.startswith("{"):
            yield "one"
            yield "more"
        else:
            yield from part


def _skipped(elements: list[str], position: int) -> list[int]:
    """Where an automaton can be without another character."""
    return [position + 1] if position < len(elements) and elements[position] in ("more", "rest") else []


def _taken(elements: list[str], position: int, char: str) -> list[int]:
    """Where an automaton is after a character."""
    if position == len(elements):
        return []
    match elements[position]:
        case "one":
            return [position + 1] if char != ":" else []
        case "more":
            return [position] if char != ":" else []
        case "rest":
            return [position]
        case literal:
            return [position + 1] if char == literal else []


class ChannelRule(msgspec.Struct, frozen=True):
    """What applies to the channels that a pattern matches."""

    pattern: ChannelPattern
    settings: Channel

    def allows_subscription(self, client: Any, channel: str) -> bool:
        """Whether a client may request a channel."""
        condition = self.settings.subscribe
        return condition is not None and condition.holds(client, self.values(channel), channel)

    def allows_pattern(self, client: Any, pattern: str) -> bool:
        """Whether a client may subscribe to a pattern, for the channels to which this rule applies."""
        condition = self.settings.subscribe
        if condition is None or not self.settings.subscribe_patterns:
            return False
        return condition.holds(client, None, pattern)

    def allows_publication(self, client: Any, channel: str, message: Any) -> bool:
        """Whether a client may publish a message to a channel. The pattern's names hide fields of the message."""
        condition = self.settings.publish
        if condition is None:
            return False
        fields = message if isinstance(message, dict) else {}
        return condition.holds(client, {**fields, **self.values(channel)}, channel)

    def values(self, name: str) -> dict[str, str]:
        """What the pattern's names stand for in a name that it matches."""
        match = self.pattern.expression.fullmatch(name)
        return {} if match is None else match.groupdict()


class ChannelRules:
    """The rules of a file.

    Args:
        settings: by pattern. Invalid patterns are left out.
    """

    __slots__ = ("_known", "_rules", "all", "settings")

    def __init__(self, settings: Mapping[str, Channel]) -> None:
        self.settings = settings
        rules = []
        for text, channel in settings.items():
            try:
                rules.append(ChannelRule(ChannelPattern.parse(text), channel))
            except ValueError:
                continue  # the reader has reported it
        # The most specific one comes first. The text decides nothing that matters, and makes the order definite.
        self.all = sorted(rules, key=lambda rule: (*(-part for part in rule.pattern.specificity), rule.pattern.text))
        self._rules = [(rule.pattern.expression.fullmatch, rule) for rule in self.all]
        self._known: dict[str, ChannelRule | None] = {}

    def __bool__(self) -> bool:
        return bool(self._rules)

    def of(self, name: str) -> ChannelRule | None:
        """The rule that applies to a channel; None for a channel without settings."""
        try:
            return self._known[name]
        except KeyError:
            pass
        if len(self._known) >= REMEMBERED:
            self._known.clear()
        rule = self._known[name] = next((rule for matches, rule in self._rules if matches(name)), None)
        return rule

    def conflicts(self) -> Iterator[tuple[ChannelRule, ChannelRule]]:
        """Pairs of rules that are equally specific and can apply to the same name."""
        for index, rule in enumerate(self.all):
            for other in self.all[index + 1 :]:
                if other.pattern.specificity != rule.pattern.specificity:
                    break
                if rule.pattern.overlaps(other.pattern):
                    yield rule, other

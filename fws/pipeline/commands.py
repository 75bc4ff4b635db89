"""The commands of Redis that the filter `redis` can give, and what each of them takes."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, Final, Literal

from fws.base.problem import did_you_mean

Kind = Literal["text", "whole number", "number", "number of seconds"]

# Longer numbers are none, and `1e999` or `nan` are none of Redis's.
_WHOLE = re.compile(r"-?[0-9]{1,19}\Z", re.ASCII)
_NUMBER = re.compile(r"-?[0-9]{1,40}(\.[0-9]{1,40})?\Z", re.ASCII)


class Command:
    """One command. All of them concern one key.

    Attributes:
        name: as Redis calls it.
        takes: name and kind of each argument after the key.
        repeats: whether all arguments together may be given several times.
        of_message: whether the last argument may be left out, and the message is it.
        keeps: whether it puts something at the key, so that the key may get an expiry.
        bounded: whether it makes a list or stream longer, whose length must be limited.
        gives: what kind of result it has.
    """

    def __init__(
        self,
        name: str,
        *takes: tuple[str, Kind],
        repeats: bool = False,
        of_message: bool = False,
        keeps: bool = True,
        bounded: bool = False,
        gives: Literal["number", "text", "nothing"] = "number",
    ) -> None:
        self.name = name
        self.takes = takes
        self.repeats = repeats
        self.of_message = of_message
        self.keeps = keeps
        self.bounded = bounded
        self.gives = gives

    @classmethod
    def parse(cls, text: str) -> Command:
        """The command of this name. Raises ValueError that says which ones there are."""
        found = COMMANDS.get(text.upper()) if isinstance(text, str) else None
        if found is None:
            hint = did_you_mean(str(text).upper(), COMMANDS) or f"known: {', '.join(COMMANDS)}"
            raise ValueError(f"there is no command {text!r} for this filter: {hint}")
        return found

    def __str__(self) -> str:
        return self.name

    @property
    def usage(self) -> str:
        """How it is written: `HSET KEY FIELD [VALUE]`, and `HSET KEY FIELD VALUE [FIELD VALUE …]`."""
        names = [name.upper() for name, _ in self.takes]
        shown = " ".join([self.name, "KEY", *names])
        if self.repeats:
            shown += f" [{' '.join(names)} …]"
        if self.of_message:
            shown = f"{' '.join([self.name, 'KEY', *names[:-1]])}, or {shown}"
        return shown

    def lacks_value(self, arguments: Sequence[Any]) -> bool:
        """Whether the message is the last argument."""
        return self.of_message and len(arguments) == len(self.takes) - 1

    def check(self, arguments: Sequence[Any]) -> None:
        """Check the number and the kinds of the arguments after the key. Raises ValueError.

        Args:
            arguments: texts; anything else is a value that is not known yet.
        """
        count, given = len(self.takes), len(arguments)
        fits = given == count or (self.repeats and given > 0 and given % count == 0)
        if not fits and not self.lacks_value(arguments):
            raise ValueError(f"write {self.usage}, not {given} argument{'' if given == 1 else 's'} after the key")
        for position, argument in enumerate(arguments):
            name, kind = self.takes[position % count]
            if isinstance(argument, str) and not _is(kind, argument):
                raise ValueError(f"{name} of {self.name} must be a {kind}, not {argument[:40]!r}")


def _is(kind: Kind, text: str) -> bool:
    match kind:
        case "text":
            return True
        case "number":
            return _NUMBER.match(text) is not None
    whole = _WHOLE.match(text) is not None and -(2**63) <= int(text) < 2**63
    return whole and (kind == "whole number" or 0 < int(text) <= 10**10)


_FIELD: Final[tuple[str, Kind]] = ("field", "text")
_VALUE: Final[tuple[str, Kind]] = ("value", "text")
_MEMBER: Final[tuple[str, Kind]] = ("member", "text")
_SCORE: Final[tuple[str, Kind]] = ("score", "number")
_BY: Final[tuple[str, Kind]] = ("by", "whole number")

COMMANDS: Final[dict[str, Command]] = {
    command.name: command
    for command in (
        Command("DEL", keeps=False),
        Command("EXPIRE", ("seconds", "number of seconds"), keeps=False),
        Command("HDEL", _FIELD, keeps=False),
        Command("HINCRBY", _FIELD, _BY),
        Command("HSET", _FIELD, _VALUE, repeats=True, of_message=True),
        Command("INCR"),
        Command("INCRBY", _BY),
        Command("LPUSH", _VALUE, of_message=True, bounded=True),
        Command("RPUSH", _VALUE, of_message=True, bounded=True),
        Command("SADD", _MEMBER, of_message=True),
        Command("SET", _VALUE, of_message=True, gives="nothing"),
        Command("SREM", _MEMBER, of_message=True, keeps=False),
        Command("XADD", _FIELD, _VALUE, repeats=True, of_message=True, bounded=True, gives="text"),
        Command("ZADD", _SCORE, _MEMBER, of_message=True),
        Command("ZINCRBY", _SCORE, _MEMBER, of_message=True),
        Command("ZREM", _MEMBER, of_message=True, keeps=False),
    )
}
"""The commands by name."""

from __future__ import annotations

import pytest

from fws.pipeline.commands import COMMANDS, Command


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("HINCRBY field 5", False),
        ("HINCRBY field -9223372036854775808", False),
        ("HSET a 1 b 2", False),
        ("HSET a", True),
        ("LPUSH", True),
        ("LPUSH x", False),
        ("XADD", None),
        ("XADD message", True),
        ("ZADD 1.5 ann", False),
        ("ZADD -3", True),
        ("SET", True),
        ("INCR", False),
        ("expire 60", False),
    ],
)
def test_what_a_command_takes(text: str, message: bool | None) -> None:
    name, *arguments = text.split()
    command = Command.parse(name)
    if message is None:
        with pytest.raises(ValueError, match="write XADD KEY FIELD"):
            command.check(arguments)
    else:
        command.check(arguments)
        assert command.lacks_value(arguments) is message


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("HINCRBY field", r"write HINCRBY KEY FIELD BY, not 1 argument after"),
        ("HSET a 1 b", r"write HSET KEY FIELD, or HSET KEY FIELD VALUE \[FIELD VALUE …\], not 3 arguments after"),
        ("HSET", "HSET KEY FIELD"),
        ("LPUSH a b", r"write LPUSH KEY, or LPUSH KEY VALUE, not 2"),
        ("INCR 5", "write INCR KEY, not 1"),
        ("HINCRBY field many", "by of HINCRBY must be a whole number, not 'many'"),
        ("HINCRBY field 9223372036854775808", "whole number"),
        ("HINCRBY field 1.5", "whole number"),
        ("INCRBY ٣", "whole number"),
        ("ZADD nan ann", "score of ZADD must be a number"),
        ("ZADD 1e999 ann", "number"),
        ("ZADD 1_0 ann", "number"),
        ("EXPIRE 0", "number of seconds"),
        ("EXPIRE -1", "number of seconds"),
    ],
)
def test_what_it_does_not_take(text: str, problem: str) -> None:
    name, *arguments = text.split()
    with pytest.raises(ValueError, match=problem):
        COMMANDS[name].check(arguments)


@pytest.mark.parametrize("name", ["HINCBY", "FLUSHALL", "EVAL", "", "GET"])
def test_another_command(name: str) -> None:
    with pytest.raises(ValueError, match=r"for this filter: (did you mean|known: DEL)"):
        Command.parse(name)

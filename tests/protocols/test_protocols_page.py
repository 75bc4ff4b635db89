"""docs/protocols.md lists all commands, pushes and codes of the protocol centrifuge, and what SDKs do with them."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TypeVar

import msgspec

from fws.protocols.centrifuge import codes, commands, replies

PAGE = (Path(__file__).parents[2] / "docs" / "protocols.md").read_text()
# Fields that are read so that a client learns that what they ask for is not served, or that ask for nothing.
UNSUPPORTED = {"type", "tf", "delta", "flag"}
RESULTS: dict[str, type[msgspec.Struct]] = {
    "connect": replies.Connected,
    "subscribe": replies.Subscription,
    "history": replies.HistoryResult,
    "presence": replies.PresenceResult,
    "presence_stats": replies.PresenceStats,
    "refresh": replies.Refreshed,
}
T = TypeVar("T")


def rows(title: str, first: str) -> list[list[str]]:
    """The rows under a heading whose first cell matches."""
    section = re.split(r"\n##+ |\nA push is ", PAGE.partition(f"# {title}\n")[2])[0]
    return [line.split(" | ") for line in re.findall(rf"^\| ({first} \|.*) \|$", section, re.MULTILINE)]


def declared(kind: type[T]) -> list[T]:
    return [value for value in vars(codes).values() if isinstance(value, kind)]


def answer(*, yes: bool) -> str:
    return "yes" if yes else "no"


def test_the_table_of_errors_has_those_that_are_declared() -> None:
    shown = [(int(code), message, temporary) for code, message, temporary, *_ in rows("Errors", r"\d+")]
    real = [(one.code, one.message, answer(yes=one.temporary)) for one in declared(codes.Error)]
    assert shown == sorted(real)


def test_the_table_of_disconnections_has_those_that_are_declared_and_what_sdks_do() -> None:
    shown = [(int(code), reason, returns) for code, reason, returns, *_ in rows("Disconnections", r"\d+")]
    final = (*range(3500, 4000), *range(4500, 5000))
    real = [(one.code, one.reason, answer(yes=one.code not in final)) for one in declared(codes.Disconnect)]
    assert shown == sorted(real)


def test_the_table_of_ended_subscriptions_has_those_that_are_declared_and_what_sdks_do() -> None:
    shown = [(int(code), reason, again) for code, reason, again, *_ in rows("Ended subscriptions", r"\d+")]
    real = [(one.code, one.reason, answer(yes=one.code >= 2500)) for one in declared(codes.Unsubscribe)]
    assert shown == sorted(real)


def test_the_table_of_commands_has_their_fields_and_those_of_their_results() -> None:
    found = {row[0].strip("`"): row for row in rows("Commands and pushes", r"`[a-z_]+` \|[^|]*")}
    for field in msgspec.structs.fields(commands.Command):
        if field.name == "id":
            continue
        _, fields, result = found[field.name]
        request = next(one for one in field.type.__args__ if one is not type(None))
        assert set(request.__struct_fields__) - UNSUPPORTED <= names(fields), field.name
        if field.name in RESULTS:
            assert set(RESULTS[field.name].__struct_fields__) <= names(result), field.name


def test_the_table_of_pushes_has_those_that_can_be_sent() -> None:
    section = PAGE.partition("\nA push is ")[2].partition("\n## ")[0]
    shown = names(" ".join(line.split(" | ")[0] for line in section.splitlines() if line.startswith("| `")))
    assert shown == set(replies._Push.__struct_fields__) - {"channel"}


def names(cell: str) -> set[str]:
    return set(re.findall(r"`([a-z_]+)`", cell))

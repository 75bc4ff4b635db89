"""One method of the API: what it takes and gives, what a key needs for it, and what carries it out."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import msgspec

from fws.api.requests import Request
from fws.base.command_error import BAD_REQUEST, CommandError
from fws.base.problem import did_you_mean
from fws.pipeline.options import Option, options_of

# What a key needs for a method. Each command of a batch needs its own.
Permission = Literal["any", "publish", "read", "admin", "its commands'"]


class Method(msgspec.Struct, frozen=True):
    """One method.

    Attributes:
        name: the last part of its URL.
        request, result: the classes of what it takes and gives.
        permission: what a key needs for it.
        help: what it does, as a sentence.
        run: carries it out with the commands, or with the operator. None for what is the caller's own matter.
        by: what carries it out.
        streams: whether `run` returns results one after the other, without an end, instead of one.
        logged: whether the log has a line about each call.
    """

    name: str
    request: type[Request]
    result: type[msgspec.Struct]
    permission: Permission
    help: str
    run: Callable[[Any, Any], Any] | None = None
    by: Literal["commands", "operator"] = "commands"
    streams: bool = False
    logged: bool = False

    def permits(self, *, publish: bool, read: bool, admin: bool) -> bool:
        """Whether a key with these permissions may call it at all."""
        return admin or {"publish": publish, "read": read, "admin": False}.get(self.permission, True)

    def parse(self, value: Any) -> Any:
        """The request that a JSON value is.

        Raises:
            CommandError: 107, it is not one; the message says what would be right.
        """
        if not isinstance(value, dict):
            raise CommandError(BAD_REQUEST, f"{self.name} takes an object, such as {{}}")
        known = {option.name: option for option in options_of(self.request)}
        fields = {}
        for name, field in value.items():
            if name in known:
                # Some libraries send null for what is not set. Only a message can be null.
                if field is not None or name == "data":
                    fields[name] = _converted(known[name], field)
            elif name not in self.request.unsupported:
                hint = did_you_mean(name, known)
                raise CommandError(BAD_REQUEST, f"unknown field {name!r}" + (f": {hint}" if hint else ""))
            elif field:
                raise CommandError(BAD_REQUEST, f"{name!r} is not supported: leave it out")
        for option in known.values():
            if option.required and option.name not in fields:
                raise CommandError(BAD_REQUEST, f"{option.name!r} is missing: {self.name} needs it")
        return self.request(**fields)


def _converted(option: Option, value: Any) -> Any:
    try:
        return option.convert(value)
    except ValueError as error:
        raise CommandError(BAD_REQUEST, f"{option.name}: {error}") from None

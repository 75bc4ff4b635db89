"""`Filter`, the base class of every filter, and the checks of its hooks."""

from __future__ import annotations

import difflib
import inspect
import re
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Final

from fws.pipeline.component import Component
from fws.pipeline.condition import Condition
from fws.pipeline.events import BY_NAME, EVENTS, TABLE


class Filter(Component, eq=False):
    """A named, configured behaviour. Subclass it, declare options as fields, and write a method for each event.

        class Shout(Filter):
            mark: Annotated[str, Help("Text appended to each message.")] = "!"

            def message(self, client, message):
                return message.upper() + self.mark

    Hooks: `connect(client)`, `data(client, data)`, `message(client, message)`, `publication(publication)`,
    `deliver(client, publication)`, `disconnect(client)`, `tick(message)`. A hook returns the value that flows on,
    `None` to leave it unchanged, or `DROP`; in `message` and `tick` also `Several` and `Later`, and in `connect` also
    `Ask`. It may raise `Close`, and in `connect` also `Reject`. One instance serves all clients of an endpoint, so data
    of one client belongs in `client.state`.

    If the class defines `start()` and `stop()`, the server calls them when it begins and ceases to use the filter. If
    it defines `adopt(old)`, a reload that changes the options or the code of a stage calls it with the former filter of
    that stage, so that the new one can take over what the former one has counted or kept. It is called between two
    events, and must not block.

    `waits = False` in the class promises that its hooks never block: no sleep, no network, no lock. A pipeline of such
    filters runs as soon as a message is read. Any other pipeline needs a switch to the client's greenlet, and memory
    for the stack of that greenlet. A hook that blocks in spite of the promise fails, and the log names it.
    """

    waits: ClassVar[bool] = True
    # Whether its `connect` decides who may connect, and whether it may end `connect` and skip what follows: `fws check`
    # warns where the one comes behind the other.
    guards: ClassVar[bool] = False
    skips: ClassVar[bool] = False

    @classmethod
    def check_event(cls, event: str, options: Mapping[str, Any]) -> None:
        """Called for each event whose pipeline uses the filter, before anything starts.

        Args:
            options: the options that the stage gives. A value with placeholders is as in the file.

        Raises:
            ValueError: the options do not fit the event. The message, which should say what would be right, becomes a
                problem of the file.
        """

    @classmethod
    def asks_rules(cls, options: Mapping[str, Any]) -> bool:
        """Whether the rules of [channels] decide about the channel that the filter names.

        `fws check` warns about a filter whose channel a client can choose, unless something decides.
        """
        return False

    def explain(self, client: Any, message: Any, channel: str | None) -> str:
        """A few words about what the filter has just decided: `9 left`. Called only while somebody observes the filter.

        It is called right after the hook, with what the hook was given, and must change nothing. Without a method of
        its own, a filter shows the values in its conditions.

        Args:
            client, channel: None on events that have none.
        """
        conditions = (getattr(self, name) for name in self.__struct_fields__)
        return "; ".join(one.explain(client, message, channel) for one in conditions if isinstance(one, Condition))


def hooks_of(cls: type[Filter]) -> tuple[str, ...]:
    """The events that a filter class serves."""
    return tuple(event for event in EVENTS if inspect.isfunction(getattr(cls, event, None)))


# The names of hooks in other frameworks, and what such a hook is called here.
_OTHER_NAMES: Final = {
    "open": "connect",
    "opened": "connect",
    "connection": "connect",
    "accept": "connect",
    "close": "disconnect",
    "closed": "disconnect",
    "disconnected": "disconnect",
    "receive": "message",
    "received": "message",
    "recv": "message",
    "text": "message",
    "messages": "message",
    "publish": "publication",
    "published": "publication",
    "send": "deliver",
    "delivery": "deliver",
}
_AFFIXES: Final = re.compile(
    r"^(on|handle|handler|process|before|after|ws|websocket|do)_?|_?(handler|hook|event|received)$"
)


def misnamed_hooks(cls: type[Filter]) -> dict[str, str]:
    """Methods of a class that look like hooks under another name: `on_message` or `mesage` for `message`.

    Returns:
        The right name for each wrong one, without events that the class already serves.
    """
    found = {}
    served = hooks_of(cls)
    for name, value in vars(cls).items():
        if not inspect.isfunction(value) or name in EVENTS or name.startswith("_"):
            continue
        plain = name.lower()
        for _ in range(2):
            plain = _AFFIXES.sub("", plain)
        event = _OTHER_NAMES.get(plain) or next(iter(difflib.get_close_matches(plain, EVENTS, 1, 0.8)), "")
        if event and event not in served:
            found[name] = event
    return found


def check_hooks(cls: type[Filter]) -> None:
    """Find hooks that would fail, or admit everybody, when they are called.

    Raises:
        TypeError: says what would be right.
    """
    name = cls.__name__
    misnamed = misnamed_hooks(cls)
    if misnamed and not hooks_of(cls):
        wrong, right = next(iter(misnamed.items()))
        raise TypeError(f"{name}.{wrong} is not a hook: call it {BY_NAME[right].signature}")
    for row in TABLE:
        event, signature = row.name, row.signature
        method = inspect.getattr_static(cls, event, None)
        if method is None or event in cls.__struct_fields__:
            continue
        if not inspect.isfunction(method):
            kind = type(method).__name__
            raise TypeError(f"{name}.{event} is a {kind}: hooks are plain methods, `def {signature}`")
        if inspect.iscoroutinefunction(method) or inspect.isasyncgenfunction(method):
            raise TypeError(f"{name}.{event} is async: hooks are plain functions, and may block, `def {signature}`")
        if inspect.isgeneratorfunction(method):
            raise TypeError(
                f"{name}.{event} contains yield: hooks are plain functions that return what flows on, or None"
            )
        try:
            inspect.signature(method).bind(None, *row.arguments)
        except TypeError:
            raise TypeError(f"{name}.{event} must be defined as `def {signature}`") from None


def hook(instance: Filter, event: str) -> Callable[..., Any]:
    """The bound method that serves `event`."""
    method: Callable[..., Any] = getattr(instance, event)
    return method


def module_of(thing: Any) -> str:
    """The module of a class or function, without the generation: `pipelines.chat` for `pipelines@2.chat`."""
    return re.sub(r"@[0-9]+(?=\.|\Z)", "", str(thing.__module__))


def snake_case(name: str) -> str:
    """`RateLimit` as `rate_limit`: the name under which a class is used in TOML."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", name).lower()

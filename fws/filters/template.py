"""`template`: make a text of a message."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

from msgspec import Meta

from fws import Client, Filter, Help, Publication, Size, Takes, Verbatim
from fws.base.errors import MessageFillError
from fws.filters._followed import Followed
from fws.pipeline.call import ATTRIBUTES
from fws.pipeline.component import Setting
from fws.pipeline.events import BY_NAME
from fws.pipeline.placeholder import CLIENT_ATTRIBUTES

if TYPE_CHECKING:
    from fws.filters._template import TextTemplate

MAX_FILE = 1024 * 1024

# The names that a template may use, and how their values are found. The client is None on events without one.
_VALUES: Final[dict[str, Callable[[Any, Any, str | None], Any]]] = {
    "message": lambda client, message, channel: message,
    "channel": lambda client, message, channel: channel,
    "client": lambda client, message, channel: {name: getattr(client, name) for name in CLIENT_ATTRIBUTES},
    "identity": lambda client, message, channel: client.identity or {},
    "state": lambda client, message, channel: {k: v for k, v in client.state.items() if isinstance(k, str)},
    "params": lambda client, message, channel: dict(client.params),
    "call": lambda client, message, channel: {name: getattr(client.call, name) for name in ATTRIBUTES},
    "time": lambda client, message, channel: client.time(),
}

_WITHOUT_CLIENT: Final = frozenset(("message", "channel"))


class Template(Filter):
    """Replace each message with the text that a template makes of it.

    On `message`, `publication`, `deliver` and `tick`. Templates are written in the language of jinja2. The names are
    `message`, `client` (with `id`, `address`, `path`, `subprotocol`), `identity`, `state`, `params`, `channel`, `call`
    (with `kind`, `channel`, `method`, `data`) and `time`, as far as the event has them. `message.items` is always the
    field `items`. Null is written as an empty text, and true, false, lists and objects as JSON.

    A value that is not there is false in `{% if %}`, and `{{ message.name|default("nobody") }}` gives another one.
    Otherwise the event ends, as with a placeholder without a value, and `messages_unfilled` counts it. The same happens
    if the text gets longer than `limit`, if loops have more than 10,000 rounds together, if a number gets more than
    1,024 bits, or if filters, tests and operators handle more than about a million characters and items together. In
    `map`, `sort`, `title`, `unique` and `urlencode`, each of them counts eight times.

    What `map`, `sort`, `sum`, `trim`, `unique` and others are to use is written out in the template, so that no message
    chooses it. `sum` adds numbers only.

    A template contains `if`, `for`, `set`, `with`, operators, tests and these filters: abs, capitalize, count, default,
    dictsort, escape, first, float, int, items, join, last, length, list, lower, map, max, min, reject, rejectattr,
    replace, reverse, round, select, selectattr, sort, string, sum, title, tojson, trim, truncate, unique, upper,
    urlencode and wordcount. It calls no functions and no methods, and cannot include other files.

    With `html`, the characters `<`, `>`, `&` and quotes in values are escaped. A dollar sign before a brace begins a
    variable, also here: write `{{ "$" }}{{ message.price }}`. A file has no variables. It is read again with the first
    message a second after it has changed. If the new version is wrong, the log says so, and the former one stays.

    Example:
        message = ["json", "template {{ identity.user|default('guest') }}: {{ message.text }}", "broadcast"]
    """

    waits = False

    text: Annotated[str, Help("The template."), Takes("rest"), Verbatim()] = ""
    file: Annotated[str, Help("File of the template, relative to the TOML file's folder."), Verbatim()] = ""
    html: Annotated[bool, Help("Whether values are escaped for HTML.")] = False
    limit: Annotated[Size, Meta(ge=1), Help("The most bytes of the text that is made.")] = 64 * 1024

    @classmethod
    def check_event(cls, event: str, options: Mapping[str, Any]) -> None:
        from fws.filters._template import TextTemplate

        there = [name for name in BY_NAME[event].names if name in _VALUES]
        if "client" in there:
            there.append("time")
        try:
            names = TextTemplate(str(options.get("text", "")), 0).names
        except ValueError:
            return  # `prepare` reports it
        for name in sorted(names):
            if name in _VALUES and name not in there:
                raise ValueError(f"there is no {name!r} on {event}: use {', '.join(there)}")

    def prepare(self, setting: Setting) -> None:
        if bool(self.text) is bool(self.file):
            raise ValueError("give one of text and file")
        if self.file:
            path = setting.folder / self.file
            self._followed: Followed[TextTemplate] = Followed(path, lambda: self._read(path), self.clock)
            self._content = self._followed.content
        else:
            template = self._compile(self.text)
            self._content = lambda: template

    def _read(self, path: Path) -> TextTemplate:
        with open(path, "rb") as file:
            data = file.read(MAX_FILE + 1)
        if len(data) > MAX_FILE:
            raise ValueError(f"{path.name} has more than {MAX_FILE} bytes")
        try:
            return self._compile(data.decode("utf-8-sig"))
        except ValueError as error:
            raise ValueError(f"{path.name}: {error}") from None

    def _compile(self, text: str) -> TextTemplate:
        # The library takes 0.04 s and 8 MB, which only servers with this filter pay.
        from fws.filters._template import TextTemplate

        template = TextTemplate(text, self.limit, html=self.html)
        for name in sorted(template.names):
            if name not in _VALUES:
                raise ValueError(f"there is no {name!r}: use {', '.join(_VALUES)}; a field is message.{name}")
        return template

    def _render(self, client: Client | None, message: Any, channel: str | None = None) -> str:
        template = self._content()
        try:
            there = template.names if client is not None else template.names & _WITHOUT_CLIENT
            return template.render({name: _VALUES[name](client, message, channel) for name in there})
        except ValueError as error:
            raise MessageFillError(f"template: {str(error)[:200]}") from None

    def message(self, client: Client, message: Any) -> str:
        return self._render(client, message)

    def tick(self, message: Any) -> str:
        return self._render(None, message)

    def publication(self, publication: Publication) -> Publication:
        return publication.replace(message=self._render(None, publication.message, publication.channel))

    def deliver(self, client: Client, publication: Publication) -> Publication:
        return publication.replace(message=self._render(client, publication.message, publication.channel))

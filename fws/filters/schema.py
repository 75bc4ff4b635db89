"""`schema`: let messages through that match a JSON Schema."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any

from fws import DROP, Client, Filter, Help, Publication, Verbatim
from fws.filters._followed import Followed
from fws.filters._refusal import Refusing, check_refusing, refuse
from fws.pipeline.component import Setting

if TYPE_CHECKING:
    from fws.filters._schema import CompiledSchema


class Schema(Filter):
    """Let messages through that match a JSON Schema, and refuse the others.

    On `message`, `publication`, `deliver` and `tick`. What is checked is the value that flows, so put `json` before
    this filter. Depending on `on_error`, a client whose message is refused is told nothing, or gets `{"error": "…",
    "at": "/items/0/name"}`, or the connection is closed with 1007. `error` is the first mistake that is found, and `at`
    is its JSON pointer, which is missing where the whole message is wrong. In a protocol with calls, the call fails. On
    the other events a message that does not match is dropped.

    The dialect is 2020-12, unless `$schema` names an older one, from draft 4 on. `format` is checked, and an unknown
    format is a mistake in the file. A `$ref` is a relative path to a file in the folder of the TOML file or below it.
    Nothing is fetched from the network.

    The time that a check takes grows with the size of the message and with nothing else. Patterns have no lookarounds
    and no backreferences for that reason.

    The files are read again with the first message a second after they have changed. If the new version is wrong, the
    log says so, and the former one stays.

    Example:
        message = ["json on_error=reply", "schema shapes/order.json on_error=reply", "broadcast"]
    """

    waits = False

    file: Annotated[str, Help("File of the schema, in the folder of the TOML file or below it."), Verbatim()]
    on_error: Annotated[Refusing, Help("How to treat a message that does not match.")] = "drop"

    @classmethod
    def check_event(cls, event: str, options: Mapping[str, Any]) -> None:
        check_refusing(event, options)

    def prepare(self, setting: Setting) -> None:
        # The library takes 10 MB, which only servers with this filter pay.
        from fws.filters._schema import compile_schema

        self._schema: Followed[CompiledSchema] = Followed(
            setting.folder / self.file,
            lambda: compile_schema(setting.folder, self.file),
            self.clock,
            lambda schema: schema.files,
        )

    def _problem(self, value: Any) -> tuple[str, str] | None:
        problem = self._schema.content().problem(value)
        if problem is not None:
            self.services.metrics.count("schema_refused")
        return problem

    def message(self, client: Client, message: Any) -> Any:
        problem = self._problem(message)
        return None if problem is None else refuse(client, self.on_error, 400, *problem)

    def publication(self, publication: Publication) -> Any:
        return None if self._problem(publication.message) is None else DROP

    def deliver(self, client: Client, publication: Publication) -> Any:
        return self.publication(publication)

    def tick(self, message: Any) -> Any:
        return None if self._problem(message) is None else DROP

    def explain(self, client: Any, message: Any, channel: str | None) -> str:
        problem = self._schema.content().problem(message)
        return "it matches" if problem is None else ": ".join(text for text in reversed(problem) if text)

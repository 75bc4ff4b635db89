"""`switch`: run a different pipeline for each value of a field."""

from __future__ import annotations

from typing import Annotated, Any

from fws import Client, Filter, Help, Publication
from fws.base.brief import brief
from fws.filters._shown import shown
from fws.pipeline.call import MESSAGE, WORDS
from fws.pipeline.pipeline import Pipeline


class Switch(Filter):
    """Run a pipeline that depends on the value of a field.

    On `message`, `publication`, `deliver` and `tick`. The result of the branch flows on. If the branch drops the
    message, the whole pipeline ends. A value without a branch, and a message without the field, run the default;
    without a default they flow on unchanged. Numbers, true and false are compared in their JSON form: `5`, `true`.

    Example:
        message = ["json", "by_type"]

        [filters.by_type]
        use = "switch"
        key = "type"
        default = ["reply \\"unknown type\\""]
        [filters.by_type.case]
        chat = ["broadcast"]
        ping = ["reply pong"]
    """

    key: Annotated[
        str,
        Help(
            "Field whose value selects the branch; a.b is the field b of the object in a. In a protocol with calls, "
            "call.kind, call.channel and call.method are those of the client's call."
        ),
    ]
    case: Annotated[dict[str, Pipeline], Help("A list of stages for each value.")]
    default: Annotated[Pipeline | None, Help("Stages for every other value.")] = None

    @property
    def waits(self) -> bool:  # type: ignore[override]
        """Whether a branch may block."""
        branches = [*self.case.values(), *([self.default] if self.default is not None else [])]
        return any(branch.waits for branch in branches)

    def __post_init__(self) -> None:
        self._path = self.key.split(".")
        self._word = self.key.removeprefix("call.") if self._path[0] == "call" else ""

    def message(self, client: Client, message: Any) -> Any:
        if self._word in WORDS and client.call is not MESSAGE:
            branch = self.case.get(getattr(client.call, self._word), self.default)
        else:
            branch = self._branch(message)
        return None if branch is None else branch.run(client, message)

    def tick(self, message: Any) -> Any:
        branch = self._branch(message)
        return None if branch is None else branch.tick(self.services.ticker(), message)

    def publication(self, publication: Publication) -> Any:
        branch = self._branch(publication.message)
        return None if branch is None else branch.publish(publication)

    def deliver(self, client: Client, publication: Publication) -> Any:
        branch = self._branch(publication.message)
        return None if branch is None else branch.run(client, publication)

    def explain(self, client: Any, message: Any, channel: str | None) -> str:
        if client is not None and self._word in WORDS and client.call is not MESSAGE:
            message = getattr(client.call, self._word)
        else:
            for name in self._path:
                message = message.get(name) if isinstance(message, dict) else None
        known = isinstance(message, str | int | float) and shown(message) in self.case
        return f"{self.key} = {brief(message)}{'' if known else ', so the default'}"

    def _branch(self, value: Any) -> Pipeline | None:
        for name in self._path:
            value = value.get(name) if isinstance(value, dict) else None
        if not isinstance(value, str | int | float):
            return self.default
        return self.case.get(shown(value), self.default)

"""`jq`: compute messages with a program of jq."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

import jq
from msgspec import Meta

from fws import DROP, Client, Duration, Filter, Help, Publication, Several, Size, Takes, Verbatim
from fws.filters._jq import JqError, JqProcess
from fws.filters._refusal import Refusing, check_refusing, refuse
from fws.pipeline.component import Setting
from fws.pipeline.outcomes import MAX_PARTS
from fws.wire.encoding import json_bytes

MAX_REASON = 200


class Jq(Filter):
    """Replace each message with what a program of jq makes of it.

    On `message`, `publication` and `tick`. The program gets the value that flows, so put `json` before this filter.
    Each of its results flows on by itself. Without a result, as after `select(false)`, and for each result `null`, the
    message is dropped. Of a `publication` there may be one result.

    The message is refused if the program fails, takes longer than `timeout`, gets a message of more than `max_size`, or
    has more than `max_results`, or more than 1 MiB of them together. Depending on `on_error`, a refused message is
    dropped, or dropped and answered with `{"error": "…"}`, or it closes the connection with 1007. The client is told
    the text of jq's `error("…")`. In a protocol with calls, the call fails.

    The program runs in a process of its own, which takes one message after the other, so its clients wait for each
    other. A message that waits longer than `timeout` for its turn is refused as well. The process has no variables of
    the environment and 512 MiB of memory. It is ended, and replaced, when a message takes too long. The time of some
    programs grows with the square of the message's size (`gsub`, `-` and `inside` for lists, nested iterations), so
    keep `max_size` small where clients write the messages.

    Options come before the program, which takes the rest of the stage. Integers above 2^53 lose their last digits, as
    in JavaScript. Braces in the program are those of jq, and no placeholders.

    Example:
        message = ["json", "jq on_error=reply {type, text: .text[:200]} | select(.type == \\"chat\\")", "broadcast"]
    """

    program: Annotated[str, Help("The program, as in `jq PROGRAM`."), Takes("rest"), Verbatim()]
    on_error: Annotated[Refusing, Help("How to treat a message for which the program fails.")] = "drop"
    timeout: Annotated[Duration, Meta(gt=0, le=60), Help("The most time for one message, and to wait before.")] = 1.0
    max_size: Annotated[Size, Meta(ge=1), Help("The largest message, as JSON.")] = 64 * 1024
    max_results: Annotated[int, Meta(ge=1, le=MAX_PARTS), Help("The most results of one message.")] = 100

    @classmethod
    def check_event(cls, event: str, options: Mapping[str, Any]) -> None:
        check_refusing(event, options)

    def prepare(self, setting: Setting) -> None:
        try:
            jq.compile(self.program)
        except ValueError as error:
            raise ValueError(f"program: {_explained(str(error))}") from None
        self._process = JqProcess(self.program, self.max_results + 1, self.timeout)

    def stop(self) -> None:
        """End the process."""
        self._process.end()

    def _results(self, value: Any) -> list[Any]:
        """The results that are messages. Raises JqError."""
        try:
            text = json_bytes(value)
        except TypeError:
            raise JqError("this is no value of JSON") from None
        if len(text) > self.max_size:
            raise JqError("this message is too large")
        results = self._process.results(text)
        if len(results) > self.max_results:
            raise JqError(f"a message has at most {self.max_results} results")
        return [result for result in results if result is not None]

    def message(self, client: Client, message: Any) -> Any:
        try:
            return _flowing(self._results(message))
        except JqError as error:
            self.services.metrics.count("jq_refused")
            return refuse(client, self.on_error, 400, str(error)[:MAX_REASON])

    def tick(self, message: Any) -> Any:
        try:
            return _flowing(self._results(message))
        except JqError:
            self.services.metrics.count("jq_refused")
            return DROP

    def publication(self, publication: Publication) -> Any:
        try:
            results = self._results(publication.message)
            if len(results) > 1:
                raise JqError("a publication has one result")
        except JqError:
            self.services.metrics.count("jq_refused")
            return DROP
        return publication.replace(message=results[0]) if results else DROP


def _flowing(results: list[Any]) -> Any:
    if not results:
        return DROP
    return results[0] if len(results) == 1 else Several(results)


def _explained(text: str) -> str:
    """What jq says about a program, in one line: `syntax error, unexpected end of file (line 1, column 4)`."""
    first = text.removeprefix("jq: error: ").split("\n")[0].rstrip(":")
    what, _, place = first.partition(" at <top-level>, ")
    return f"{what} ({place})" if place else what

"""`json`: text to value."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fws import Client, Filter, Help, Size
from fws.base.decoding import decode
from fws.filters._refusal import Refusing, refuse


class Json(Filter):
    """Decode JSON, so that the following filters can use the fields of the message.

    On `message` and `tick`, text or binary. Values that an earlier filter has made flow on unchanged, and so does the
    text `null`.

    A message is refused if it is not JSON, is larger than `max_size`, has more than 20,000 lists and objects (brackets
    in texts count), is nested more than 100 deep, or has numbers that do not fit a float. Depending on `on_error`, a
    refused message is dropped, or dropped and answered with `{"error": "…"}`, or it closes the connection with 1007
    (invalid data, RFC 6455 7.4.1). In a protocol with calls, such as `centrifuge`, the call fails.

    Example:
        message = ["json on_error=reply", "broadcast"]
    """

    waits = False

    max_size: Annotated[Size, Help("The largest message that is decoded.")] = 256 * 1024
    on_error: Annotated[Refusing, Help("How to treat a message that is not JSON.")] = "drop"
    surrogates: Annotated[
        Literal["refuse", "replace"],
        Help(
            "How to treat half of an emoji, as in a text that was cut: refuse the message, or replace it with U+FFFD."
        ),
    ] = "refuse"

    def message(self, client: Client, message: Any) -> Any:
        return self._decoded(client, message)

    def tick(self, message: Any) -> Any:
        return self._decoded(None, message)

    def _decoded(self, client: Client | None, message: Any) -> Any:
        if not isinstance(message, str | bytes):
            return None
        try:
            if len(message) > self.max_size:
                raise ValueError("this JSON is too large")
            return decode(message, replace=self.surrogates == "replace")
        except ValueError as error:
            self.services.metrics.count("json_refused")
            return refuse(client, self.on_error, 400, str(error))

"""`json`: text to value."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fws import Client, Filter, Help, Size
from fws.base.close_codes import INVALID_DATA
from fws.filters._decoding import decode
from fws.filters._refusal import Refusing, refuse


class Json(Filter):
    """Turn JSON text into the value it stands for, so that the filters behind it see fields.

    On `message`, text or binary. What an earlier filter made a value of flows on unchanged, and so does the text
    `null`, as a hook that returns nothing changes nothing. Refused is what is not JSON, what is larger than `max_size`,
    holds more than 20,000 lists and objects (brackets in texts count), is nested more than 100 deep, or has numbers no
    float can hold: as `on_error` says it is dropped, or dropped and answered with `{"error": "…"}`, or the connection
    is closed with 1007, the code for data that is not what its kind promises (RFC 6455 7.4.1).

    Example:
        message = ["json on_error=reply", "broadcast"]
    """

    waits = False

    max_size: Annotated[Size, Help("Largest message that is decoded.")] = 256 * 1024
    on_error: Annotated[Refusing, Help("What becomes of a message that is not JSON.")] = "drop"
    surrogates: Annotated[
        Literal["refuse", "replace"],
        Help("Half of an emoji, as of a text that was cut: refuse the message, or replace the half with U+FFFD."),
    ] = "refuse"

    def message(self, client: Client, message: Any) -> Any:
        if not isinstance(message, str | bytes):
            return None
        try:
            if len(message) > self.max_size:
                raise ValueError("this JSON is too large")
            return decode(message, replace=self.surrogates == "replace")
        except ValueError as error:
            self.services.metrics.count("json_refused")
            return refuse(client, self.on_error, INVALID_DATA, str(error))

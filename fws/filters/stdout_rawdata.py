"""`stdout_rawdata`: the bytes that arrive, on standard output."""

from __future__ import annotations

from fws import Client, Filter
from fws.filters._shown import shown
from fws.filters._stdout import MAX_SHOWN, write


class StdoutRawdata(Filter):
    """Print the bytes that clients send, as they arrive, before they are parsed as frames.

    On `data`: a line `--RAWDATA--`, then the first 4,096 characters of the bytes as Python writes them; they flow on.
    For looking at a protocol, not for production: the server waits while the output is read slowly.

    Example:
        data = ["stdout_rawdata"]
    """

    waits = False

    def data(self, client: Client, data: bytes) -> None:
        write("RAWDATA", shown(data, MAX_SHOWN))

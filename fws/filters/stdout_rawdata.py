"""`stdout_rawdata`: print bytes that arrive to standard output."""

from __future__ import annotations

from fws import Client, Filter
from fws.filters._shown import shown
from fws.filters._stdout import MAX_SHOWN, write


class StdoutRawdata(Filter):
    """Print the bytes that clients send before they are decoded.

    On `data`. The output is a line `--RAWDATA--`, and then the first 4,096 characters of the bytes as a Python literal.
    The bytes flow on. Use this to look at a protocol, and not in production: if the output is read slowly, the server
    waits.

    Example:
        data = ["stdout_rawdata"]
    """

    waits = False

    def data(self, client: Client, data: bytes) -> None:
        write("RAWDATA", shown(data, MAX_SHOWN))

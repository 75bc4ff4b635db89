"""Prints the bytes that arrive."""

import sys

from fws.classic.filters.base import WebSocketDataFilter


class StdoutRawDataFilter(WebSocketDataFilter):
    """Print raw data below a title."""

    @classmethod
    def filter(cls, web_socket_instance, data):
        sys.stdout.write(f"--RAWDATA--\n{data!r}\n")
        sys.stdout.flush()

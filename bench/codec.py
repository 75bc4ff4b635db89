"""Measure the frame codec alone: unmasking, decoding, encoding and compression.

Prints tab-separated lines: what was measured, the size in bytes, the unit, and the figure.

Run it with `python bench/codec.py`. It takes about fifteen seconds. Each figure is the best of five.
"""

from __future__ import annotations

import json
import os
import platform
import timeit
import zlib
from collections.abc import Callable

from fws.wire import deflate, frames

SIZES = (16, 64, 1024, 64 * 1024, 1024 * 1024)
MASK = b"\x1f\x2e\x3d\x4c"
READ = 64 * 1024
LIMIT = 16 * 1024 * 1024


def seconds(action: Callable[[], object]) -> float:
    """The best time of one call, from five rounds of at least 20 ms."""
    timer = timeit.Timer(action)
    number = 1
    while (spent := timer.timeit(number)) < 0.02:
        number = max(number * 2, int(number * 0.02 / max(spent, 1e-9)))
    return min(timer.repeat(5, number)) / number


def row(what: str, size: int, unit: str, figure: float) -> None:
    print(f"{what}\t{size}\t{unit}\t{figure:.4g}", flush=True)


def client_frame(first: int, payload: bytes) -> bytes:
    length = len(payload)
    if length < 126:
        head = bytes((first, 0x80 | length))
    elif length < 0x10000:
        head = bytes((first, 0xFE)) + length.to_bytes(2)
    else:
        head = bytes((first, 0xFF)) + length.to_bytes(8)
    return head + MASK + frames.unmask(payload, MASK)


def decode_in_reads(stream: bytes, read: int) -> Callable[[], int]:
    def run() -> int:
        decoder = frames.Decoder(LIMIT)
        return sum(len(decoder.feed(stream[start : start + read])) for start in range(0, len(stream), read))

    return run


def main() -> None:
    print(f"# Python {platform.python_version()}, zlib {zlib.ZLIB_RUNTIME_VERSION}, {platform.machine()}")
    for size in SIZES:
        data = os.urandom(size)
        row("unmask", size, "µs", seconds(lambda: frames.unmask(data, MASK)) * 1e6)  # noqa: B023

    for size in SIZES:
        text = ('{"say": "héllo wörld"} ' * (size // 16 + 1)).encode()[:size].decode("utf-8", "ignore").encode()
        for kind, first in (("text", 0x81), ("binary", 0x82)):
            count = max(1, 256 * 1024 // (size + 6))
            stream = client_frame(first, text) * count
            for read in (READ, 100) if size == 64 else (READ,):
                spent = seconds(decode_in_reads(stream, read))
                row(f"decode {kind}, reads of {read}", size, "messages/s", count / spent)
                row(f"decode {kind}, reads of {read}", size, "MB/s", len(stream) / spent / 1e6)

    for size in SIZES:
        message = "x" * size
        row("frame text", size, "µs", seconds(lambda: frames.encode(frames.TEXT, message.encode())) * 1e6)  # noqa: B023

    agreement = deflate.Agreement("", 15, 15, False)
    for count in (1, 8, 100, 1000):
        message = json.dumps([{"id": i, "from": f"user {i}", "text": "hello " * (i % 7)} for i in range(count)])
        plain = message.encode()
        packed = deflate.deflate(plain, 15)
        row("deflate", len(plain), "µs", seconds(lambda: deflate.deflate(plain, 15)) * 1e6)  # noqa: B023
        row("deflate", len(plain), "bytes", len(packed))
        decoder = frames.Decoder(LIMIT, inflater=deflate.Inflater(agreement))
        stream = client_frame(0xC1, packed)
        row("decode compressed text", len(plain), "µs", seconds(lambda: decoder.feed(stream)) * 1e6)  # noqa: B023


if __name__ == "__main__":
    main()

"""Measure what each filter adds to a message, without sockets.

    python bench/filters.py [NAME…]

Each row is a list of stages and a message. Rounds with these stages and rounds with an empty pipeline alternate, and
the difference of their medians is shown. Give words to measure only the rows that contain them. A new filter is a new
row in `ROWS`. Prints Markdown, and takes about ten seconds.
"""

from __future__ import annotations

# The library must be patched before anything else is imported, as in a server.
from gevent import monkey

monkey.patch_all()

import json  # noqa: E402
import statistics  # noqa: E402
import sys  # noqa: E402
import time  # noqa: E402
from pathlib import Path  # noqa: E402
from types import SimpleNamespace  # noqa: E402
from typing import Any  # noqa: E402

from fws.compiler.compile import generation_of  # noqa: E402
from fws.compiler.generation import Generation  # noqa: E402
from fws.config import parse  # noqa: E402
from fws.pipeline.call import MESSAGE  # noqa: E402
from fws.pipeline.pipeline import Pipeline  # noqa: E402

CONF = Path(__file__).parents[1] / "conf"
ROUNDS = 9
# Seconds of one round.
ROUND = 0.02

CHAT: Any = {"type": "chat", "room": "tea", "text": "hello, is anybody there?", "n": 5}
ITEMS = [{"name": "green tea", "count": 2, "price": 3.5}, {"name": "cup", "count": 1, "price": 9}]
ORDER: Any = {"customer": "ann", "note": "mail ann@example.org", "card": "4111 1111 1111 1111", "items": ITEMS}
LONG: Any = {"text": "hello, is anybody there? " * 160}  # 4 KB

ROWS: tuple[tuple[str, str, Any], ...] = (
    ("json", "a line of chat", json.dumps(CHAT)),
    ("text", "a line of chat", CHAT),
    ("max_message 1KiB", "a line of chat", json.dumps(CHAT)),
    ("rate_limit 1000000/s burst=1000000", "a line of chat", CHAT),
    ("when type == 'chat' and len(text) < 200", "a line of chat", CHAT),
    ("require identity.user != null", "a line of chat", CHAT),
    ("pick type text", "a line of chat", CHAT),
    ("omit room", "a line of chat", CHAT),
    ("set room=lobby n=6", "a line of chat", CHAT),
    ("set from={client.id} at={time}", "a line of chat", CHAT),
    ("split items", "an order", ORDER),
    ("schema shapes/order.json", "an order", ORDER),
    ("schema shapes/order.json", "a wrong order", ORDER | {"items": [ITEMS[0] | {"count": "x"}]}),
    ("jq {type, text}", "a line of chat", CHAT),
    ("jq .items[] | {name, total: (.count * .price)}", "an order", ORDER),
    ("template {{ identity.user }}: {{ message.text }}", "a line of chat", CHAT),
    ("template {% for x in message.items %}{{ x.name|upper }} {% endfor %}", "an order", ORDER),
    ("redact card", "an order", ORDER),
    ("redact find=email,card", "an order", ORDER),
    ("redact find=email,card", "a text of 4 KB", LONG),
    ("redact pattern=key-[a-z]++", "a line of chat", CHAT),
)


class Client(SimpleNamespace):
    """What these filters see of a client."""

    id, address, path, subprotocol = "c1", "192.0.2.1", "/", ""
    identity: Any = {"user": "ann"}
    params: Any = {}
    call = MESSAGE

    def __init__(self) -> None:
        super().__init__(state={}, templated={})

    def time(self) -> str:
        return "2026-01-01T00:00:00.000Z"

    def take_part(self) -> None:
        pass


def compiled(rows: list[tuple[str, str, Any]]) -> Generation:
    tables = (f'[endpoints."/{n}"]\nmessage = [{json.dumps(stage)}]' for n, (stage, _, _) in enumerate(rows))
    return generation_of(parse("\n".join(tables), str(CONF / "filters.toml")), {})


def seconds(pipeline: Pipeline, value: Any, count: int) -> float:
    run, client = pipeline.run, Client()
    began = time.perf_counter()
    for _ in range(count):
        run(client, value)
    return time.perf_counter() - began


def microseconds(pipeline: Pipeline, value: Any) -> float:
    """What the pipeline takes for one message more than an empty one."""
    count = 10
    while seconds(pipeline, value, count) < ROUND:
        count *= 2
    empty = Pipeline("message")
    pairs = [(seconds(pipeline, value, count), seconds(empty, value, count)) for _ in range(ROUNDS)]
    return (statistics.median(a for a, _ in pairs) - statistics.median(b for _, b in pairs)) / count * 1e6


def main() -> None:
    rows = [row for row in ROWS if not sys.argv[1:] or any(word in row[0] for word in sys.argv[1:])]
    generation = compiled(rows)
    print("| stage | message | µs |\n| --- | --- | --- |")
    for number, (stage, name, value) in enumerate(rows):
        route = generation.route(f"/{number}")
        assert route is not None
        shown = stage.replace("|", "\\|")
        print(f"| `{shown}` | {name} | {microseconds(route[0].message, value):.2f} |", flush=True)
    for instance in generation.filters:
        if (stop := getattr(instance, "stop", None)) is not None:
            stop()


if __name__ == "__main__":
    main()

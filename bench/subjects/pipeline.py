"""Pipelines: what filters add to the processor time of a message. Only fws is measured."""

from typing import Any

from measure import Measure, Subject
from servers import FILTERS

ECHOES = ("echo", "-n", "64", "-s", "64", "-d", "16")
# The client is the only member of its channel, so a broadcast is an echo.
ALONE = ("echo", "-n", "1", "-s", "64", "-d", "16")
MEMBERS = ("fanout", "-n", "1000", "-s", "128", "-w", "1")
JSON = ("--payload-prefix", '{"text":"', "--payload-suffix", '"}')


def pipeline(name: str, title: str, load: tuple[str, ...], path: str, **rest: Any) -> Measure:
    return Measure(name, title, load, path, needs=FILTERS, **rest)


SUBJECT = Subject(
    "pipeline",
    "What filters add to the server's processor time for a message: see the column *µs added*.",
    (
        pipeline("filters-0", "`echo` alone", ECHOES, "/echo", quick=True),
        pipeline("filters-1", "1 filter that returns its argument", ECHOES, "/pipeline/one", above="filters-0"),
        pipeline("filters-5", "5 such filters", ECHOES, "/pipeline/five", above="filters-0"),
        pipeline("filters-20", "20 such filters", ECHOES, "/pipeline/twenty", above="filters-0", quick=True),
        pipeline("rate_limit", "`rate_limit`", ECHOES, "/pipeline/rate_limit", above="filters-0"),
        pipeline("text", "`echo` alone, with a JSON text", (*ECHOES, *JSON), "/echo"),
        pipeline("json", "`json` (decodes; `echo` encodes again)", (*ECHOES, *JSON), "/pipeline/json", above="text"),
        pipeline("plain", "`broadcast` of a JSON text to 1 client", (*ALONE, *JSON), "/pipeline/broadcast"),
        pipeline(
            "usual",
            "`rate_limit`, `json`, `set` and `broadcast` to 1 client",
            (*ALONE, *JSON),
            "/pipeline/usual",
            above="plain",
        ),
        pipeline("undelivered", "`broadcast` to 1,000", MEMBERS, "/fanout", unit="deliveries/s"),
        pipeline(
            "deliver",
            "the same, with a filter under `deliver`",
            MEMBERS,
            "/pipeline/deliver",
            unit="deliveries/s",
            above="undelivered",
        ),
    ),
)

"""The requests of operators and their results, which only fws has."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from fws.api.requests import Node, Request
from fws.pipeline.options import Help

# The most clients of one page, and up to which one pages go.
MAX_PAGE = 500
MAX_OFFSET = 9_500
# The most lines of a tap per second and worker.
MAX_RATE = 1000


class Stages(Request, frozen=True, kw_only=True):
    seconds: Annotated[float, Meta(ge=0.1, le=10.0), Help("The time that is measured; the answer comes after it.")] = (
        1.0
    )


class Clients(Request, frozen=True, kw_only=True):
    user: Annotated[str, Help("Only clients of this user.")] = ""
    address: Annotated[str, Help("Only addresses that begin with this.")] = ""
    channel: Annotated[str, Help("Only members of this channel.")] = ""
    client: Annotated[str, Help("Only ids that begin with this.")] = ""
    path: Annotated[str, Help("Only paths that begin with this.")] = ""
    limit: Annotated[int, Meta(ge=0, le=MAX_PAGE), Help("The most clients of the answer.")] = 50
    offset: Annotated[int, Meta(ge=0, le=MAX_OFFSET), Help("How many of the clients are left out first.")] = 0


class OfBan(Request, frozen=True, kw_only=True):
    positional = ("kind", "name")

    kind: Annotated[Literal["user", "address", "token"], Help("What is banned.")]
    name: Annotated[str, Meta(min_length=1, max_length=400), Help("The user, the address, or the name of the token.")]


class BanRequest(OfBan, frozen=True, kw_only=True):
    positional = ("kind", "name")

    seconds: Annotated[float, Meta(ge=0, le=1e9), Help("How long; 0 for a permanent ban.")] = 0.0


class ListBans(Request, frozen=True, kw_only=True):
    pass


class AboutGeneration(Request, frozen=True, kw_only=True):
    pass


class Reload(Request, frozen=True, kw_only=True):
    dry_run: Annotated[bool, Help("Whether the answer only says what would change.")] = False
    skip_tests: Annotated[bool, Help("Whether the tests of the file are not run.")] = False


class ListFaults(Request, frozen=True, kw_only=True):
    pass


class AboutNodes(Request, frozen=True, kw_only=True):
    pass


class Tap(Request, frozen=True, kw_only=True):
    positional = ("stage",)

    stage: Annotated[
        str, Meta(max_length=500), Help("Pattern of stages, such as message/json or `/chat message/*`; empty for all.")
    ] = ""
    client: Annotated[str, Help("Only this client; the beginning of its id is enough.")] = ""
    user: Annotated[str, Help("Only clients of this user.")] = ""
    channel: Annotated[str, Help("Only publications to this channel, and clients that are its members.")] = ""
    outcomes: Annotated[
        list[Literal["pass", "drop", "refuse", "close", "error"]], Help("Only these outcomes; all if empty.")
    ] = []
    redact: Annotated[list[str], Help("Names of further fields that are masked; `*` masks all values.")] = []
    rate: Annotated[int, Meta(ge=1, le=MAX_RATE), Help("The most lines per second and worker.")] = 100


# Results.


class Branch(msgspec.Struct, frozen=True):
    """A pipeline that a stage runs itself, and its label."""

    label: str
    stages: list[StageView]


class StageView(msgspec.Struct, frozen=True):
    """One stage. Rates are per second, and times in microseconds. `place` is the file and the line.

    `stage` is its address behind the path, as `tap` takes it. `chain` is the chain that it belongs to, or empty.
    """

    stage: str
    text: str
    chain: str
    place: str
    rate: float
    drop: float
    error: float
    close: float
    refuse: float
    p50: float
    p99: float
    branches: list[Branch] = []


class PipelineView(msgspec.Struct, frozen=True):
    """One pipeline. `title` is where it runs, and `path` the first part of its stages' addresses."""

    title: str
    path: str
    event: str
    stages: list[StageView]


class StagesResult(msgspec.Struct, frozen=True):
    """What this node did in the time: per second, apart from `clients`, `counters`, and `lag` in milliseconds."""

    file: str
    generation: int
    generation_age: float
    refused: str
    workers: int
    clients: int
    in_: float = msgspec.field(name="in")
    out: float
    lag: float
    counters: dict[str, int]
    pipelines: list[PipelineView]


class ClientView(msgspec.Struct, frozen=True):
    """One client. `waiting` is the number of bytes in its outbox, `token` what a ban of its token names."""

    client: str
    user: str
    path: str
    address: str
    channels: list[str]
    waiting: int
    token: str
    worker: int


class ClientsResult(msgspec.Struct, frozen=True):
    """A page of this node's clients, and the number of all that match."""

    total: int
    clients: list[ClientView]


class BanView(msgspec.Struct, frozen=True):
    """One ban. `until` is a Unix time, or 0 for a permanent ban."""

    kind: str
    name: str
    until: float


class BansResult(msgspec.Struct, frozen=True):
    """Every ban that is not over."""

    bans: list[BanView]


class UnbanResult(msgspec.Struct, frozen=True):
    """Whether there was such a ban."""

    found: bool


class ReloadResult(msgspec.Struct, frozen=True):
    """What became of a reload: `done`, `unchanged`, `possible` (a dry run), `restart` or `refused`.

    `lines` say what has changed, or every problem. They begin with `+` added, `-` removed, `~` changed, or `!` needs a
    restart.
    """

    status: str
    generation: int
    lines: list[str]


class PastReload(ReloadResult, frozen=True, kw_only=True):
    """A reload, and when it was, in Unix time."""

    at: float


class GenerationResult(msgspec.Struct, frozen=True):
    """The file, the number of the generation in force, and since when, in Unix time."""

    file: str
    generation: int
    since: float
    last: PastReload | None = None


class FaultView(msgspec.Struct, frozen=True):
    """One cause of faults. `what` and `client` are those of the last time, and `stack` is that of the first.

    `first` and `last` are Unix times.
    """

    event: str
    stage: str
    place: str
    where: str
    what: str
    client: str
    count: int
    first: float
    last: float
    stack: str


class FaultsResult(msgspec.Struct, frozen=True):
    """The causes that were seen within the last hour, the latest first; at most 100 of each worker."""

    faults: list[FaultView]


class WorkerView(msgspec.Struct, frozen=True):
    """One process of this node: `status` is ok, degraded or draining, and `reason` says why."""

    worker: int
    pid: int
    uid: str
    clients: int
    status: str
    reason: str


class NodesResult(msgspec.Struct, frozen=True):
    """All nodes as `info` gives them, this node's processes, and `redis`: none, ok, or why it is not reached."""

    nodes: list[Node]
    workers: list[WorkerView]
    redis: str


class Tapped(msgspec.Struct, frozen=True, omit_defaults=True):
    """One call of a filter. The fields are those that there are.

    `tapping` is the number of stages that are tapped, and comes first. `skipped` is the number of calls that were left
    out because there were too many. Values are shortened, and secrets in them are masked.
    """

    at: float = 0.0
    client: str = ""
    path: str = ""
    stage: str = ""
    outcome: str = ""
    in_: Any = msgspec.field(name="in", default=None)
    out: Any = None
    why: str = ""
    channel: str = ""
    place: str = ""
    worker: int = 0
    tapping: int | None = None
    generation: int = 0
    skipped: int = 0

"""`exec`: any program as a filter."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Annotated, Any, Literal

from msgspec import Meta

from fws import DROP, Client, Duration, Filter, Help, Reject, Setting, Size, Verbatim
from fws.base.errors import ProgramError
from fws.filters._refusal import OnFailure, refuse
from fws.programs.command import Limits, find
from fws.programs.environment import FORBIDDEN_HEADERS, inherited, of_client
from fws.programs.framing import FRAMINGS, Frame, Framing, Unsuitable, Whole
from fws.programs.log import ProgramLog
from fws.programs.modes import Mode, PerClient, PerMessage, Terms
from fws.programs.process import Bounds, Listener, Process, launch
from fws.programs.shared import Addressed, PerServer

# Processes at once, by `per`.
MOST = {"server": 1, "client": 1000, "message": 20}


class Exec(Filter):
    """Let a program decide what becomes of messages: one line in, one line out.

    On `message`, the program reads the message, and what it writes flows on instead. On `tick` the same, unless each
    client has a process. `per` says how many processes there are. With `client` each client has one, which starts with
    the first event of the client that reaches the filter and ends when the client leaves. With `server` one process
    serves all clients of the endpoint, in each process of fws. With `message` a process starts for each message, reads
    it as its whole input, and its whole output is the answer.

    `frame` says how messages are told apart. With `line` each is a line of text in UTF-8; a value that is no text is
    written as JSON. With `json` each is a JSON value on a line of its own. With `length` each is preceded by its length
    in four bytes, the most significant first, and may be binary.

    A process that serves several messages answers them in order, each with exactly one line. A line that no message has
    asked for may belong to anybody, so that the program is ended and started again, as it is when messages wait and it
    answers none for `timeout`. A late answer is discarded. With output=send a program speaks whenever it likes: each
    line is sent to its client, and messages end here.

    With per=server and frame=json, lines are objects. The program reads `{"event": "message", "client": ID, "identity":
    {…}, "channel": null, "message": …}`, and on `connect` and `disconnect`, if the filter is there, objects with these
    events. It answers with an object: `message` flows on instead, `drop` ends the pipeline, `reply` is sent to the
    client, `close` ends the connection, `join`, `leave` and `publish` do what the filters of these names do, and on
    `connect` `identity` and `reject` decide who the client is and whether it may come. An object with `to`, which is an
    id, a list of ids or "all", answers nothing: its `reply`, `close`, `join` and `leave` are for these clients, of
    those whose events the program has read.

    On `connect` with per=client, the process starts, and may speak first. If no process can be started, or too many
    run, the client is refused with 503. If a program fails at a message, because it has ended, is late, or writes
    something wrong, `on_failure` decides. Clients stay connected. A program that has ended is started again, at once
    and then after growing waits of up to `restart`, and until then messages fail at once.

    What a program writes to stderr is logged. No shell is used unless `shell` is true, and no placeholder is filled
    into a command: braces are text. What a program must know about its client is in its environment. [Programs as
    filters](exec.md) is the guide, with the environment and all limits.

    Example:
        message = ["rate_limit 5/s", "exec 'wc -w' per=message timeout=2s", "echo"]
    """

    guards = True

    command: Annotated[
        str,
        Help(
            "The program and its arguments, split as a shell does. A program with a slash is relative to the folder of "
            "the TOML file, which is also the working directory."
        ),
        Verbatim(),
    ]
    per: Annotated[Literal["server", "client", "message"], Help("What each process is for.")] = "client"
    frame: Annotated[Frame, Help("How messages are told apart.")] = "line"
    output: Annotated[
        Literal["flow", "send"],
        Help("flow: what the program writes flows on. send: it is sent to clients, whenever the program writes it."),
    ] = "flow"
    timeout: Annotated[Duration, Meta(gt=0), Help("For an answer, after which the message fails.")] = 5.0
    on_failure: Annotated[OnFailure, Help("How to treat a message when the program fails.")] = "drop"
    on_exit: Annotated[
        Literal["keep", "close"],
        Help("Whether clients are closed when the program that serves them has ended by itself."),
    ] = "keep"
    restart: Annotated[
        Duration, Meta(gt=0), Help("The longest wait before a program that has ended is started again.")
    ] = 30.0
    most: Annotated[
        Annotated[int, Meta(ge=1)] | None,
        Help("The most processes at once; the default is 1000 for per=client and 20 for per=message."),
    ] = None
    largest: Annotated[Size, Meta(ge=1), Help("The largest message that the program may write.")] = 1024 * 1024
    queue: Annotated[
        Size, Meta(ge=1), Help("Bytes that wait until a program reads them; beyond them its clients wait.")
    ] = 1024 * 1024
    env: Annotated[
        tuple[str, ...],
        Help("Variables of fws's own environment that the program gets, besides PATH and LANG."),
    ] = ()
    headers: Annotated[
        tuple[str, ...], Help("Headers of the client's request that the program gets, as HTTP_NAME.")
    ] = ()
    query: Annotated[
        bool, Help("Whether the program gets the query of the client's request, which may hold a token.")
    ] = False
    shell: Annotated[bool, Help("Whether /bin/sh reads the command.")] = False
    nice: Annotated[
        int, Meta(ge=0, le=19), Help("How much less of the processor the program gets, as with the command nice.")
    ] = 0
    limits: Annotated[Limits | None, Help("Limits of each process, such as memory=256MiB,cpu=10s,files=64.")] = None
    grace: Annotated[Duration, Meta(gt=0), Help("Time between SIGTERM and SIGKILL.")] = 3.0

    def __post_init__(self) -> None:
        if self.per == "message" and self.frame == "length":
            raise ValueError("frame: with per=message the end of the input is the end of the message: leave it out")
        if self.output == "send" and self.per != "client" and (self.per, self.frame) != ("server", "json"):
            raise ValueError("output: send needs per=client, or per=server with frame=json, to know who is meant")
        if self.output == "send" and self.on_failure == "pass":
            raise ValueError("on_failure: with output=send no message flows on")
        if self.on_exit == "close" and self.per != "client" and (self.per, self.frame) != ("server", "json"):
            raise ValueError("on_exit: close needs per=client, or per=server with frame=json")
        if self.per == "server" and self.most not in (None, 1):
            raise ValueError("most: with per=server there is one process")
        for name in self.headers:
            if name.lower() in FORBIDDEN_HEADERS:
                raise ValueError(f"headers: {name} would become a proxy for requests of the program itself")

    @classmethod
    def check_event(cls, event: str, options: Mapping[str, Any]) -> None:
        per, addressed = options.get("per", "client"), options.get("frame") == "json"
        if event == "connect" and per != "client" and not (per == "server" and addressed):
            raise ValueError("nothing flows on connect: write per=client, or per=server with frame=json")
        if event == "disconnect" and not (per == "server" and addressed):
            raise ValueError("disconnect is for per=server with frame=json; other processes end by themselves")
        if event == "tick" and (per == "client" or options.get("output") == "send"):
            raise ValueError("there is no client on tick: write per=message or per=server, and not output=send")

    def prepare(self, setting: Setting) -> None:
        self._command = find(
            self.command,
            setting.folder,
            setting.environ,
            shell=self.shell,
            limits=self.limits or Limits(),
            nice=self.nice,
        )
        self._inherited = inherited(setting.environ, self.env)
        self._headers = tuple(name.lower() for name in self.headers)
        self._log = ProgramLog(self._command.name, self.services.metrics)
        self._bounds = Bounds(self.largest, self.queue, self.grace)
        self._mode = self._mode_of(
            Terms(
                start=self._start,
                environment=partial(of_client, headers=self._headers, query=self.query),
                framing=Whole() if (self.per, self.frame) == ("message", "line") else FRAMINGS[self.frame](),
                log=self._log,
                timeout=self.timeout,
                restart=self.restart,
                most=self.most or MOST[self.per],
                sends=self.output == "send",
                closes=self.on_exit == "close",
            )
        )

    def _mode_of(self, terms: Terms) -> Mode:
        if self.per == "message":
            return PerMessage(terms)
        if self.per == "client":
            return PerClient(terms)
        return Addressed(terms, lambda: self.hub) if self.frame == "json" else PerServer(terms)

    def _start(self, environment: Mapping[str, str], framing: Framing, listener: Listener) -> Process:
        self._log.metrics.count("program_starts")
        return launch(self._command, {**self._inherited, **environment}, framing, self._bounds, listener)

    def start(self) -> None:
        self._mode.begin()

    def stop(self) -> None:
        """End all processes. At a drain there is less time than `grace`: the server interrupts this."""
        self._mode.stop(self.grace)

    def connect(self, client: Client) -> None:
        self._mode.connect(client)

    def message(self, client: Client, message: Any) -> Any:
        try:
            return self._mode.message(client, message)
        except Unsuitable as error:
            self._log.metrics.count("program_messages_refused")
            return refuse(client, "drop" if self.on_failure == "pass" else self.on_failure, 400, str(error))
        except ProgramError as error:
            self._log.of(client).fault(str(error))
            if self.on_failure == "pass":
                return None
            return refuse(client, self.on_failure, 503, "the program has failed")
        except Reject as refusal:  # of the program, or of a channel that it names
            return refuse(client, "drop", refusal.status, refusal.reason or "You may not send this.")

    def tick(self, message: Any) -> Any:
        try:
            return self._mode.message(None, message)
        except (Unsuitable, ProgramError) as error:
            self._log.fault(str(error))
            return None if self.on_failure == "pass" else DROP

    def disconnect(self, client: Client) -> None:
        try:
            self._mode.disconnect(client)
        except ProgramError as error:
            self._log.of(client).fault(str(error))

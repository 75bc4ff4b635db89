"""A session of `fws try`: a transcript that is played line by line, and shows what every stage makes of each line."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from itertools import groupby

from fws.base.errors import ConfigError
from fws.base.units import parse_duration
from fws.config import Document, load
from fws.testing.conversation import Conversation, Failure, Turn, shown
from fws.testing.simulation import Simulation, SimulationError
from fws.testing.trace import Passage
from fws.transcripts.language import Action, Expectation, Say, ScriptError, Wait, parse_line

HELP = """ann> connect /PATH          connect, also with token=… user=… Header=value, and ann@NODE> for another node
ann> TEXT                   send a message; add x10 to repeat it
ann> close                  close the connection
pub CHANNEL TEXT            publish as another application does
wait 1s                     let time pass
ann< TEXT                   check what has arrived, as in a test
:save FILE                  write the session as a [[test]]
:reload                     read the file again; the clients stay
:clock +1s                  the same as wait 1s; :clock shows the time
:clients                    who is connected
:quit                       end"""
# A message that begins with one of these is written with a backslash.
_WORDS = ("close", "refuse", "nothing", "bytes")
COMMANDS = (":save", ":reload", ":clock", ":clients", ":help", ":quit")


class Session:
    """One conversation with a configuration.

    Args:
        file: the TOML file.
        environ: the values of `${NAME}`.

    Raises:
        ConfigError: the file has problems.
        SimulationError: a filter fails to start.

    Attributes:
        ended: whether the user has asked to quit.
    """

    def __init__(self, file: str, environ: Mapping[str, str] | None = None) -> None:
        self._file = file
        self._document: Document = load(file)
        self._simulation = Simulation(self._document, os.environ if environ is None else environ, explain=True)
        self._conversation = Conversation(self._simulation)
        self._connected: set[str] = set()
        # The session as a transcript, with what has happened as expectations.
        self._script: list[str] = []
        self._last: Turn | None = None
        self._number = 0
        self.ended = False

    def enter(self, line: str) -> list[str]:
        """Do what a line says. Returns the lines to show."""
        self._number += 1
        if not line.strip() or line.lstrip().startswith("#"):
            return []
        if line.startswith(":"):
            return self._command(*line.strip().partition(" ")[::2])
        speakers = self._simulation.speakers.items()
        connected = {name for name, speaker in speakers if speaker.connected}
        try:
            statement = parse_line(line, self._number, connected)
        except ScriptError as error:
            return [f"     {error.message}" + (f": {error.hint}" if error.hint else "")]
        if isinstance(statement, Expectation):
            return self._expect(statement)
        assert isinstance(statement, Action)
        turn = self._conversation.act(statement)
        if isinstance(turn, Failure):
            return [f"     {turn.got}"]
        self._last = turn
        self._remember(statement, turn)
        return list(self._shown(turn))

    def close(self) -> None:
        self._simulation.close()

    def words(self) -> list[str]:
        """What can be completed: commands, clients, paths and channels."""
        node = next(iter(self._simulation.nodes.values()))
        paths = [endpoint.path or "/" for endpoint in node.generation.all_endpoints()]
        speakers = [f"{name}>" for name in self._simulation.speakers]
        return [*COMMANDS, *speakers, "connect", "close", "wait", "pub", *paths, *node.hub.channels()]

    def _expect(self, expectation: Expectation) -> list[str]:
        if self._last is None:
            return ["     nothing has happened yet"]
        failure = self._conversation.compare(self._last, expectation)
        return ["     ✓"] if failure is None else [f"     ✗ expected {failure.expected}, got {failure.got}"]

    # Showing.

    def _shown(self, turn: Turn) -> Iterator[str]:
        for _, passages in _events(turn.passages):
            first = passages[0]
            who = f"{first.client} " if first.client and len({one.client for one in turn.passages}) > 1 else ""
            yield f"     {who}{first.step.id.event:10} " + "  ".join(self._stage(one) for one in passages)
        yield from (f"     {fault}" for fault in turn.faults)
        for client, received in turn.received.items():
            for one, number in _counted(map(shown, received)):
                yield f"{client}< {one}" + (f" x{number}" if number > 1 else "")

    def _stage(self, passage: Passage) -> str:
        name = "/".join(passage.step.id.stage)
        if passage.repeats:
            return f"{name} {passage.note}".rstrip()
        if passage.outcome == "pass":
            return f"{name} ✓" + (f" {passage.note}" if passage.note else "")
        place = self._document.source.place(passage.step.path).short
        where = f"  {place}" if place else ""
        why = passage.why()
        return f"{name} ✗ {passage.outcome if passage.error is None else ''} {why}".rstrip().replace("  ", " ") + where

    # Saving.

    def _remember(self, action: Action, turn: Turn) -> None:
        if isinstance(action, Say | Wait) or not self._script or action.text != self._script[-1]:
            self._script.append(action.text.strip())
        counted: dict[tuple[str, str], int] = {}
        for passage in turn.endings():
            key = passage.outcome, passage.stage
            counted[key] = counted.get(key, 0) + 1
        for (outcome, stage), times in counted.items():
            self._script.append(f"     {outcome} {stage}" + (f" x{times}" if times > 1 else ""))
        for client, received in turn.received.items():
            texts = [shown(one) for one in received]
            for one, number in _counted(
                f"\\{text}" if one.message is not None and text.split(" ", 1)[0] in _WORDS else text
                for one, text in zip(received, texts, strict=True)
            ):
                self._script.append(f"{client}< {one}" + (f" x{number}" if number > 1 else ""))

    def test(self, name: str) -> str:
        """The session as a `[[test]]` section."""
        script = "\n".join(self._script)
        if "'''" in script:
            raise ValueError("the session has three single quotes in a row, which its section cannot hold")
        return f"[[test]]\nname = {_quoted(name)}\nscript = '''\n{script}\n'''\n"

    # Commands.

    def _command(self, name: str, argument: str) -> list[str]:
        match name:
            case ":quit" | ":q":
                self.ended = True
                return []
            case ":help" | ":h":
                return HELP.split("\n")
            case ":save":
                return self._save(argument.strip())
            case ":reload":
                return self._reload()
            case ":clock":
                return self._clock(argument.strip())
            case ":clients":
                names = [name for name, speaker in self._simulation.speakers.items() if speaker.connected]
                return [f"     {name}" for name in names] or ["     nobody"]
        return [f"     there is no command {name}: {', '.join(COMMANDS)}"]

    def _save(self, file: str) -> list[str]:
        if not file:
            return ["     name a file: :save conf/chat_test.toml"]
        try:
            text = self.test(f"a session of {self._simulation.wall.now:.0f}" if not self._script else self._script[0])
            new = not os.path.exists(file) or os.path.getsize(file) == 0
            with open(file, "a", encoding="utf-8") as lines:
                lines.write(text if new else f"\n{text}")
        except (OSError, ValueError) as error:
            return [f"     {file}: {error}"]
        return [f"     saved in {file}: give the test a name that says what it shows"]

    def _reload(self) -> list[str]:
        try:
            document = load(self._file)
            self._simulation.reload(document)
        except (ConfigError, SimulationError) as error:
            return ["     the file is refused, and the former one stays in force:", *str(error).split("\n")]
        self._document = document
        return ["     reloaded; the clients are still connected"]

    def _clock(self, argument: str) -> list[str]:
        if not argument:
            return [f"     {self._simulation.wall.now:.3f}"]
        try:
            seconds = parse_duration(argument.removeprefix("+"))
        except ValueError as error:
            return [f"     {error}"]
        return self.enter(f"wait {argument.removeprefix('+')}") if seconds >= 0 else []


def _events(passages: Iterable[Passage]) -> Iterator[tuple[object, list[Passage]]]:
    """The passages of each event: those of one client and event, up to the stage at which it ended."""
    group: list[Passage] = []
    for passage in passages:
        top = [one for one in group if one.outer is None]
        same = bool(top) and (passage.client, passage.step.id.event) == (top[0].client, top[0].step.id.event)
        over = bool(top) and passage.outer is None and (top[-1].outcome != "pass" or passage.step.id == top[0].step.id)
        if group and (not same or over):
            yield group[0], group
            group = []
        group.append(passage)
    if group:
        yield group[0], group


def _counted(texts: Iterable[str]) -> Iterator[tuple[str, int]]:
    """Each text, with the number of times that it occurs in a row."""
    for text, group in groupby(texts):
        yield text, len(list(group))


def _quoted(text: str) -> str:
    """A basic string of TOML."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return '"' + "".join(char if char.isprintable() else f"\\u{ord(char):04x}" for char in escaped) + '"'

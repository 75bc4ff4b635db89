"""What is started: the command of a filter, found and checked before anything runs."""

from __future__ import annotations

import os
import re
import shlex
import shutil
from collections.abc import Mapping
from pathlib import Path

import msgspec

from fws.base.units import format_duration, format_size, parse_duration, parse_size

# What looks like a placeholder. Nothing fills in a command, because a client would choose a part of it.
_PLACEHOLDER = re.compile(r"\{(?:call|client|identity|message|params|state)\.[A-Za-z_][A-Za-z0-9_.]*\}")


class Limits:
    """Limits of the kernel (setrlimit) on each process: `memory=256MiB,cpu=10s,files=64`.

    Attributes:
        memory: bytes of address space.
        cpu: whole seconds of processor time.
        files: open files.
    """

    __slots__ = ("cpu", "files", "memory")

    def __init__(self, memory: int | None = None, cpu: int | None = None, files: int | None = None) -> None:
        self.memory = memory
        self.cpu = cpu
        self.files = files

    @classmethod
    def parse(cls, text: str) -> Limits:
        """Read limits. Raises ValueError that says what is wrong."""
        values: dict[str, int] = {}
        for part in filter(None, (part.strip() for part in text.split(","))):
            name, _, value = part.partition("=")
            if name in values:
                raise ValueError(f"{name!r} is given twice")
            if name == "memory":
                values[name] = int(parse_size(value))
            elif name == "cpu":
                values[name] = max(1, round(parse_duration(value)))
            elif name == "files" and value.isascii() and value.isdigit() and int(value) >= 3:
                values[name] = int(value)
            else:
                raise ValueError("expected limits such as memory=256MiB,cpu=10s,files=64")
        return cls(**values)

    def __str__(self) -> str:
        shown = {
            "memory": None if self.memory is None else format_size(self.memory),
            "cpu": None if self.cpu is None else format_duration(self.cpu),
            "files": self.files,
        }
        return ",".join(f"{name}={value}" for name, value in shown.items() if value is not None)

    def arguments(self) -> list[str]:
        """The same for the program `prlimit`."""
        names = {"as": self.memory, "cpu": self.cpu, "nofile": self.files}
        return [f"--{name}={value}" for name, value in names.items() if value is not None]


class Command(msgspec.Struct, frozen=True):
    """A program with its arguments, as it is started.

    Attributes:
        words: the executable file, and the arguments.
        folder: the working directory.
        name: what the log calls it.
        nice: how much less of the processor it gets than others, from 0 to 19.
    """

    words: tuple[str, ...]
    folder: str
    name: str
    nice: int = 0


def find(text: str, folder: Path, environ: Mapping[str, str], *, shell: bool, limits: Limits, nice: int = 0) -> Command:
    """Split a command as a shell does, and find its program.

    Args:
        folder: the working directory. A program with a slash in it, such as `exec/count.py`, is relative to it; any
            other is looked for in `PATH`.
        shell: whether a shell reads the command.

    Raises:
        ValueError: says what is wrong.
    """
    if (match := _PLACEHOLDER.search(text)) is not None:
        raise ValueError(
            f"{match[0]} is text in a command: nothing is filled in there, or clients could choose a part of it. "
            "The program finds in its environment what it needs"
        )
    if "\0" in text:
        raise ValueError("a command cannot have a NUL in it")
    if shell:
        given = ["/bin/sh", "-c", text]
    else:
        try:
            given = shlex.split(text)
        except ValueError as error:
            raise ValueError(f"the command cannot be split: {str(error).lower()}") from None
    if not text.strip() or not given or not given[0]:
        raise ValueError("the command is empty")
    path = environ.get("PATH", os.defpath)
    words = [_program(given[0], folder, path), *given[1:]]
    if wanted := limits.arguments():
        # Limits that are set after the start come too late for what the program has done or started until then, and
        # code between fork and exec is not safe in a process with threads. `prlimit` sets its own limits and then
        # becomes the program.
        prlimit = shutil.which("prlimit", path=path)
        if prlimit is None:
            raise ValueError("limits need the program prlimit of util-linux, which is not in PATH")
        words = [prlimit, *wanted, "--", *words]
    name = text.split()[0] if shell else given[0]
    return Command(tuple(words), str(folder), os.path.basename(name)[:40], nice)


def _program(name: str, folder: Path, path: str) -> str:
    """The executable file of a program."""
    if "/" not in name:
        found = shutil.which(name, path=path)
        if found is None:
            raise ValueError(f"there is no program {name!r} in PATH")
        return os.path.abspath(found)
    file = folder / name
    if not file.is_file():
        raise ValueError(f"there is no program {file}")
    if not os.access(file, os.X_OK):
        raise ValueError(f"{file} is not executable: make it so with chmod +x")
    return os.path.abspath(file)

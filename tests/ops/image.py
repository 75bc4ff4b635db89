"""A Dockerfile built and run without Docker, in an overlay over this machine's files.

This machine stands in for the base image: what it has, the image seems to have. So `apt-get` only says what it would
install, and a real base image is not tried. All else is real: COPY takes what .dockerignore lets through, RUN runs
in a root of its own, and the command is process 1 of its own namespace, with the user and environment of the image.
"""

from __future__ import annotations

import json
import os
import re
import select
import shlex
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple

# Where a base image of Python has it.
PYTHON = Path("/usr/local/bin/python")


class Step(NamedTuple):
    """One instruction."""

    word: str
    text: str


def steps_of(dockerfile: str) -> list[Step]:
    """The instructions of a Dockerfile, with continued lines joined and values of ARG filled in."""
    lines = [line for line in dockerfile.splitlines() if line.strip() and not line.startswith("#")]
    steps: list[Step] = []
    values: dict[str, str] = {}
    for line in "\n".join(lines).replace("\\\n", " ").splitlines():
        word, _, text = line.partition(" ")
        for name, value in values.items():
            text = text.replace(f"${{{name}}}", value)
        if word == "ARG":
            name, _, value = text.partition("=")
            values[name] = value
        steps.append(Step(word, text.strip()))
    return steps


def ignored_by(root: Path) -> set[str]:
    """The names in a folder that .dockerignore lets through. It ignores all others."""
    lines = [line for line in (root / ".dockerignore").read_text().splitlines() if line and not line.startswith("#")]
    assert lines[0] == "*"
    return {line[1:] for line in lines if line.startswith("!")}


class Stage:
    """A stage of an image: its files, and what it has set.

    Attributes:
        root: its root folder.
        settings: the last text of each instruction, such as CMD.
        environ: its environment.
        ran: the commands of RUN.
    """

    def __init__(self, root: Path, base: str) -> None:
        self.root = root
        self.base = base
        self.settings: dict[str, str] = {}
        self.environ = {"PATH": "/usr/local/bin:/usr/bin:/usr/sbin:/bin:/sbin"}
        self.ran: list[str] = []

    def at(self, path: str) -> Path:
        """Where a path of the stage is on this machine."""
        return self.root / os.path.normpath(os.path.join(self.settings.get("WORKDIR", "/"), path))[1:]


class Image:
    """The stages of a Dockerfile, built by `Image(…)` and removed by `close`.

    Args:
        folder: for the files of the stages.
        project: the folder with the Dockerfile.
    """

    def __init__(self, folder: Path, project: Path) -> None:
        self._project = project
        self._folder = folder
        self._stages: dict[str, Stage] = {}
        # Mounts live in the namespace of this process, and go with it.
        self._holder = subprocess.Popen(
            ["unshare", "--mount", "sh", "-c", "echo; exec sleep 600"], stdout=subprocess.PIPE
        )
        assert self._holder.stdout is not None
        self._holder.stdout.readline()
        self._inside = ["nsenter", "--mount", "--target", str(self._holder.pid)]
        try:
            for step in steps_of((project / "Dockerfile").read_text()):
                self._take(step)
        except BaseException:
            self.close()
            raise

    @property
    def stages(self) -> list[Stage]:
        """All stages. The last one is the image."""
        return list(self._stages.values())

    def close(self) -> None:
        self._holder.kill()
        self._holder.wait()
        assert self._holder.stdout is not None
        self._holder.stdout.close()

    def run(self, command: list[str], *, environ: dict[str, str] | None = None, stage: Stage | None = None) -> str:
        """Run a command in a stage, as root. Returns its output."""
        stage = stage or self.stages[-1]
        words = ["chroot", str(stage.root), *words_of(stage.environ | (environ or {})), *command]
        done = subprocess.run([*self._inside, *words], capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, f"{command}: {done.stdout[-2000:]}{done.stderr[-2000:]}"
        return done.stdout

    def start(self, command: list[str], environ: dict[str, str], *, read_only: bool = False) -> Container:
        """Start a command in a container of the image."""
        return Container(self._inside, self.stages[-1], command, environ, read_only=read_only)

    def _take(self, step: Step) -> None:
        match step.word:
            case "ARG":
                pass
            case "FROM":
                base, _, name = step.text.partition(" AS ")
                self._stages[name] = self._begin(base, name or "last")
            case "RUN":
                self._run(step.text)
            case "COPY":
                self._copy(step.text)
            case "ENV":
                stage = self.stages[-1]
                for pair in shlex.split(step.text):
                    name, _, value = pair.partition("=")
                    stage.environ[name] = value.replace("$PATH", stage.environ["PATH"])
            case "WORKDIR":
                self.stages[-1].settings["WORKDIR"] = step.text
                self.run(["mkdir", "-p", step.text])
            case "LABEL" | "USER" | "EXPOSE" | "STOPSIGNAL" | "HEALTHCHECK" | "ENTRYPOINT" | "CMD":
                self.stages[-1].settings[step.word] = step.text
            case _:
                raise AssertionError(f"this test does not know {step.word}")

    def _begin(self, base: str, name: str) -> Stage:
        """A stage over this machine's files, with Python where its base image has it."""
        place = self._folder / name
        place.mkdir()
        # The upper folder of an overlay cannot be on an overlay, so it is in memory.
        real = os.path.realpath(sys.executable)
        script = f"""
            mount -t tmpfs tmpfs {place} && cd {place} && mkdir upper work root
            mount -t overlay overlay -o lowerdir=/,upperdir=upper,workdir=work root
            mount --rbind /dev root/dev
            chmod 755 root/root
            rm -f root{PYTHON} && printf '#!/bin/sh\\nexec {real} "$@"\\n' > root{PYTHON} && chmod 755 root{PYTHON}
            printf '#!/bin/sh\\n' > root/usr/local/bin/apt-get && chmod 755 root/usr/local/bin/apt-get
            rm -rf root/opt/fws root/srv/fws root/run/fws
        """
        subprocess.run([*self._inside, "sh", "-ec", script], check=True)
        return Stage(place / "root", base)

    def _run(self, text: str) -> None:
        stage = self.stages[-1]
        stage.ran.append(text)
        # The other tests of wheels install what fws needs. Here the packages of this environment do.
        environ = {name: value for name, value in os.environ.items() if name.startswith("PIP_")} | {"PIP_NO_DEPS": "1"}
        folder = stage.settings.get("WORKDIR", "/")
        self.run(["sh", "-ec", f"cd {folder}; {text}"], environ=environ)
        if "pip install" in text:
            site = next(path for path in map(Path, sys.path) if path.name == "site-packages")
            venv = f"/opt/fws/lib/python3.{sys.version_info.minor}/site-packages"
            self.run(["sh", "-ec", f"echo {site} > {venv}/base.pth"])

    def _copy(self, text: str) -> None:
        stage = self.stages[-1]
        (*options,) = (word for word in text.split() if word.startswith("--"))
        *sources, target = (word for word in text.split() if not word.startswith("--"))
        place = stage.at(target)
        if options:
            (option,) = options
            other = self._stages[option.removeprefix("--from=")]
            for source in sources:
                subprocess.run([*self._inside, "cp", "-a", str(other.at(source)), str(place)], check=True)
            return
        passed = ignored_by(self._project)
        for source in sources:
            assert source in passed, f".dockerignore keeps {source} from the image"
            origin, copy = self._project / source, self._folder / "context"
            shutil.rmtree(copy, ignore_errors=True)
            copy.mkdir()
            if origin.is_dir():
                shutil.copytree(origin, copy / "it", ignore=shutil.ignore_patterns("__pycache__", "*.so"))
            else:
                shutil.copy(origin, copy / "it")
            goal = place if origin.is_dir() else place / origin.name
            subprocess.run([*self._inside, "cp", "-r", str(copy / "it"), str(goal)], check=True)


def words_of(environ: dict[str, str], folder: str = "/") -> list[str]:
    """The command that gives another one this environment, no more, and a working directory."""
    return ["env", "-i", f"--chdir={folder}", *(f"{name}={value}" for name, value in environ.items())]


class Container:
    """A running container: process 1 of its own namespace, as the image's user."""

    def __init__(
        self, inside: list[str], stage: Stage, command: list[str], environ: dict[str, str], *, read_only: bool
    ) -> None:
        self._stage = stage
        self._environ = stage.environ | environ
        self._user = stage.settings["USER"]
        root = shlex.quote(str(stage.root))
        mounts = [f"mount -t proc proc {root}/proc"]
        if read_only:
            uid, gid = self._user.split(":")
            mounts.append(f"mount -t tmpfs -o uid={uid},gid={gid},mode=0700 tmpfs {root}/run/fws")
            mounts.append(f"mount -o remount,bind,ro {root}")
        chroot = shlex.join(self._inside_root([*json.loads(stage.settings["ENTRYPOINT"]), *command]))
        script = " && ".join([*mounts, f"exec {chroot}"])
        unshare = ["unshare", "--mount", "--pid", "--fork", "--kill-child", "sh", "-ec", script]
        self.process = subprocess.Popen(
            [*inside, *unshare], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )
        self._output = ""

    def _inside_root(self, command: list[str]) -> list[str]:
        """A command in the root of the container, as its user."""
        environ = words_of(self._environ, self._stage.settings["WORKDIR"])
        return ["chroot", f"--userspec={self._user}", str(self._stage.root), *environ, *command]

    @property
    def first(self) -> int:
        """Its process 1, as this machine numbers it."""
        (pid,) = children_of(self.process.pid)
        return pid

    def wait_for(self, pattern: str, timeout: float = 15) -> re.Match[str]:
        """Wait for a match in what it has written since the last one."""
        assert self.process.stdout is not None
        until = time.monotonic() + timeout
        while (found := re.search(pattern, self._output)) is None:
            readable, _, _ = select.select([self.process.stdout], [], [], max(0, until - time.monotonic()))
            data = os.read(self.process.stdout.fileno(), 65536) if readable else b""
            assert data, f"{pattern!r} is not in\n{self._output}"
            self._output += data.decode()
        self._output = self._output[found.end() :]
        return found

    def run(self, command: list[str]) -> subprocess.CompletedProcess[str]:
        """Run a command in the container, as `docker exec` does."""
        enter = ["nsenter", "--mount", "--pid", "--target", str(self.first)]
        return subprocess.run([*enter, *self._inside_root(command)], capture_output=True, text=True, timeout=60)

    def signal(self, number: int) -> None:
        """Send a signal to process 1, as `docker kill` does."""
        os.kill(self.first, number)

    def orphans(self) -> list[str]:
        """The children of process 1 but the server: state and name. One in state Z has ended and was not reaped."""
        lines = self.run(["ps", "-o", "stat=,comm=", "--ppid", "1"]).stdout.splitlines()
        return [line for line in lines if line.split()[1] != "fws"]

    def end(self) -> None:
        """End it at once, with all its processes."""
        if self.process.poll() is None:
            self.signal(signal.SIGKILL)
        self.process.wait(10)
        if self.process.stdout is not None:
            self.process.stdout.close()


def children_of(pid: int) -> list[int]:
    """The children of a process, as soon as it has one."""
    for _ in range(500):
        if found := Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
            return list(map(int, found))
        time.sleep(0.01)
    raise AssertionError(f"process {pid} has no child")

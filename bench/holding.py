"""Many clients that are connected and send nothing."""

from __future__ import annotations

import contextlib
import subprocess
from collections.abc import Iterator

from process import LONGEST_LOAD, Failed, Running, found


@contextlib.contextmanager
def holding(running: Running, clients: int, path: str, seconds: float) -> Iterator[None]:
    """Keep `clients` connections open while the block runs. The block must take less than `seconds`.

    Raises Failed if not all of them could be opened, or not all stayed open.
    """
    command = running.load_command(("connect", "-n", str(clients), "-c", "64", "--hold", f"{seconds:g}"), path)
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as load:
        try:
            assert load.stderr is not None
            said = ""
            for said in load.stderr:
                if said.startswith("READY"):
                    break
            if said != f"READY {clients}\n":
                raise Failed(f"not all of {clients} clients could connect: {said.strip()}")
            yield
            if load.poll() is not None:
                raise Failed("the clients were gone before the measuring ended")
            output, errors = load.communicate(timeout=seconds + LONGEST_LOAD)
            alive = found(output, errors)["alive"]
            if alive != clients:
                raise Failed(f"only {alive} of {clients} clients stayed")
        finally:
            load.kill()

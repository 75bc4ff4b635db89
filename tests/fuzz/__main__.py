"""Fuzzes the parsers one after the other: python -m tests.fuzz [TARGET ...] [--seconds 120].

A failing input is printed with its traceback and kept in .fuzz/. Copy it to tests/fuzz/found/TARGET/ to make it a
regression test. Inputs that cover new code are kept too, and the next run begins with them.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import random
import re
import subprocess
import sys
import time
from pathlib import Path

KEPT = Path(".fuzz")


def main() -> int:
    from tests.fuzz.targets import TARGETS

    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("targets", nargs="*", metavar="TARGET", help=f"of {', '.join(TARGETS)}; all by default")
    parser.add_argument("--seconds", type=int, default=120, help="for each target")
    arguments = parser.parse_args()
    unknown = set(arguments.targets) - set(TARGETS)
    if unknown:
        parser.error(f"no such target: {', '.join(sorted(unknown))}")
    if importlib.util.find_spec("atheris") is None:
        parser.error("atheris is missing: make .venv/fuzz.stamp; it is there for Linux on x86-64 only")
    broken = []
    for name in arguments.targets or TARGETS:
        started = time.monotonic()
        target = TARGETS[name]
        corpus = KEPT / name
        corpus.mkdir(parents=True, exist_ok=True)
        command = [sys.executable, "-c", "from tests.fuzz.__main__ import fuzz; fuzz()", name, str(arguments.seconds)]
        done = subprocess.run(
            command, env=os.environ | target.environ, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        cases = re.findall(r"^(?:#(?=\d+\t)|Done )(\d+)", done.stdout, re.MULTILINE)
        covered = re.findall(r" cov: (\d+)", done.stdout)
        print(
            f"{name:12} {int(cases[-1] if cases else 0):>9,} cases in {time.monotonic() - started:5.0f} s, "
            f"{covered[-1] if covered else '?':>5} edges, {len(list(corpus.iterdir())):>5} inputs kept: "
            f"{'nothing found' if done.returncode == 0 else 'FOUND'}",
            flush=True,
        )
        if done.returncode:
            broken.append(name)
            print(re.sub(r"(?m)^(?:#\d+\t|INFO|WARNING).*\n", "", done.stdout), flush=True)
    return 1 if broken else 0


def fuzz() -> None:
    """Fuzz one target in this process, which libFuzzer ends."""
    import atheris

    name, seconds = sys.argv[1:]
    # Keys and hypothesis are loaded by the targets; of fws and the two readers of TOML the coverage is traced.
    with atheris.instrument_imports(include=["fws", "toml", "tomllib", "jwt"]):
        from tests.fuzz.mutate import mutated
        from tests.fuzz.targets import TARGETS, found
    target = TARGETS[name]
    seeds = [*target.seeds, *(path.read_bytes() for path in found(name))]

    def mutator(data: bytes, most: int, seed: int) -> bytes:
        chance = random.Random(seed)
        # Half by libFuzzer, which knows what the code compares with.
        return atheris.Mutate(data, most) if chance.random() < 0.5 else mutated(data, seeds, chance, most)

    begin = KEPT / f"{name}.seeds"
    begin.mkdir(exist_ok=True)
    for number, seed in enumerate(seeds):
        (begin / str(number)).write_bytes(seed)
    options = {
        "max_total_time": seconds,
        "max_len": target.size,
        "timeout": 30,
        "rss_limit_mb": 2048,
        "artifact_prefix": f"{KEPT / name}-",
        "use_value_profile": 1,
    }
    flags = [f"-{key}={value}" for key, value in options.items()]
    atheris.Setup([name, *flags, str(KEPT / name), str(begin)], target, custom_mutator=mutator)
    atheris.Fuzz()


if __name__ == "__main__":
    sys.exit(main())

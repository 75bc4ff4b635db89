"""The checks of the fuzzer, with its first inputs, a few changes of each, and all inputs that it has found."""

from __future__ import annotations

import random

import pytest

from tests.fuzz.mutate import mutated
from tests.fuzz.targets import TARGETS, found


@pytest.mark.parametrize("name", TARGETS)
def test_where_the_fuzzer_begins(name: str) -> None:
    target, chance = TARGETS[name], random.Random(1)
    for seed in target.seeds:
        target.check(seed)
        target.check(mutated(seed, target.seeds, chance, 4096))


@pytest.mark.parametrize("name", TARGETS)
def test_inputs_that_the_fuzzer_has_found(name: str) -> None:
    for path in found(name):
        TARGETS[name].check(path.read_bytes())

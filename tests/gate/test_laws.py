"""Every method on random networks, held to the laws of `tests.gate.laws`.

By default on `EXAMPLES` networks of each family (fully connected, convolutional, of all kinds of layers), with JAX,
which compiles each kernel of each network anew, on one; and on further ones, for the laws that none of these could be
asked about (doubled inputs, say, of networks other than ReLU's). So every method is held to every law in each family
that has it, within about two minutes in all. Which networks, follows from the method's name and ``--laws-seed``.

A long run, ``--laws-examples N`` (`nox -s laws`), takes N networks of each family, with more kernels for each law, and
shrinks what it finds.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

import pytest
from hypothesis import Phase, assume, given, seed, settings
from hypothesis.errors import Unsatisfiable

from impls import Method, unsupported
from reference import seed_of
from tests.gate.compilation import drop_many_programs
from tests.gate.known_wrong import known_reason
from tests.gate.laws import judge, laws_of
from tests.gate.random_networks import FAMILIES, SEEDED, Family, RandomNetwork, random_networks, smooth
from tests.gate.selection import Selection
from tests.gate.subject import Subject

EXAMPLES = 3
FURTHER = 40
"""Networks drawn for the laws that are not asked about every network; most are only looked at."""
UNSUPPORTED = 30
"""Networks after which a method that has supported none is believed not to support the family."""


@pytest.mark.parametrize("family", FAMILIES)
def test_laws(method: Method, family: Family, selection: Selection, request: pytest.FixtureRequest) -> None:
    """Prints (`pytest -rP` shows it) on how many networks each law was asked."""
    option = request.config.option
    long, jax = bool(option.laws_examples), method.framework == "jax"
    n_examples = option.laws_examples or (1 if jax else EXAMPLES)
    held: Counter[str] = Counter()
    refused: list[str] = []

    @seed(seed_of(f"{method.name} {family} {option.laws_seed}"))
    @settings(SEEDED, max_examples=n_examples if long else n_examples + FURTHER,
              phases=[Phase.generate, Phase.shrink] if long else [Phase.generate])
    @given(random_networks(family, method.kind))
    def hold(random: RandomNetwork) -> None:
        assume(long or random.seed)  # hypothesis starts with the simplest network, too simple for one among few
        every = long or held["networks"] < n_examples
        laws = [law for law in laws_of(method, family) if every or not held[law.name]]
        if not laws:
            return
        on = Subject(method, random, selection.device, thorough=long or not jax)
        reason = (unsupported(method, on.case, on.request)
                  or known_reason(method.name, on.case, selection.device))
        if reason is not None:
            refused.append(reason)
            if not held and len(refused) == UNSUPPORTED:
                pytest.skip(reason)
        assume(reason is None and smooth(on.case))
        verdict = judge(on, laws)
        if long:
            drop_many_programs()
        assert not verdict.broken, message(method, random, verdict.broken)
        held.update((*verdict.held, "networks"))  # no sooner: hypothesis runs again what failed, and asks for the same

    try:
        hold()
    except Unsatisfiable:
        pytest.skip(refused[-1] if refused else "no network was drawn on which the kernel is defined")
    finally:
        print(f"networks on which {method.name} held each law: {dict(held)}")


def message(method: Method, random: RandomNetwork, broken: Mapping[str, str]) -> str:
    lines = [f"law broken: {name}: {reason}" for name, reason in broken.items()]
    return "\n".join([*lines, f"by {method.name} on {random!r}"])

"""Every law of the gate fails a method that breaks it slightly, by its name; and a right method keeps them all."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given, seed, settings

import reference
from impls import Method
from reference import MLP, Case, Layered, float64_expected, layers, normalised, random_case, tolerance
from reference.layers import Activate, Attention, Dense, Embedding, Residual, Unused
from tests.gate import changed_cases as changed
from tests.gate.laws import LAWS, judge, laws_of
from tests.gate.random_networks import FAMILIES, SEEDED, Family, RandomNetwork, random_networks, smooth
from tests.gate.subject import Subject
from tests.planted import laws as mistakes
from tests.planted.correct import CORRECT
from tests.planted.stochastic import OTHER_PROJECTIONS_FOR_X2, RIGHT
from tests.planted.test_gate import run_gate

pytest_plugins = ["pytester"]

NTK = RandomNetwork(MLP((4, 5, 6, 3), parameterization="ntk"), 3, 2, 1)
STANDARD = RandomNetwork(MLP((4, 5, 6, 3), "tanh"), 3, 2, 1)
SINGULAR = RandomNetwork(MLP((2, 2, 4), "tanh"), 3, 2, 1)  # 18 parameters, 20 rows
LAYERS = RandomNetwork(Layered((2,), (
    Embedding("tokens", 5, 2), Residual((Dense("inside", 2), Activate("tanh"))), Unused("spare", (2,)),
    Dense("head", 2))), 3, 2, 2)


def broken(method: Method, random: RandomNetwork) -> dict[str, str]:
    family: Family = "layered" if isinstance(random.network, Layered) else "dense"
    return dict(judge(Subject(method, random), laws_of(method, family)).broken)


@pytest.mark.parametrize(("name", "random", "laws"), [
    ("VALUE", NTK, {"value", "other parameters"}),
    ("SYMMETRY", NTK, {"symmetry and positivity", "other parameters"}),
    ("POSITIVITY", SINGULAR, {"symmetry and positivity", "value", "other parameters", "sum over parameters", "blocks"}),
    ("FIRST_EXAMPLE", NTK, {"permuted examples", "value", "other parameters", "blocks"}),
    ("X2_GIVEN", NTK, {"blocks"}),
    ("MORE_ROWS", NTK, {"transposition"}),
    ("DIAGONAL", NTK, {"diagonal"}),
    ("TRACE", NTK, {"trace"}),
    ("LAST_BLOCK", NTK, {"batch size"}),
    ("FLOAT32", NTK, {"float32 against float64"}),
    ("FIRST_OUTPUT", NTK, {"permuted outputs", "value", "other parameters"}),
    ("ALPHABET", LAYERS, {"reordered parameters"}),
    ("ALPHABET", NTK, {"reordered parameters"}),
    ("LARGE_LAST_WEIGHT", LAYERS, {"scaled last layer"}),
    ("LARGE_W_STD", NTK, {"ntk parameterization"}),
    ("LARGE_B_STD", NTK, {"doubled inputs"}),
    ("FROZEN", LAYERS, {"sum over parameters"}),
    ("FROZEN", STANDARD, {"sum over parameters"}),
    ("COMPONENTS", NTK, {"sum of components"}),
    ("STALE", NTK, {"other parameters", "permuted outputs"}),
    ("TIRED", NTK, {"repetition"}),
    ("TIRED_IN_THE_FOURTH", NTK, {"repetition"}),
    ("SHARED_EXAMPLE", NTK, {"blocks"}),
    ("RESEEDS", NTK, {"untouched state"}),
    ("OTHER_SEED_FOR_OUTPUTS", NTK, {"diagonal", "trace"}),
    ("OTHER_SEED_FOR_BLOCKS", NTK, {"batch size"}),
    ("OTHER_SEED_FOR_SWAPPED", NTK, {"transposition"}),
    ("LIMIT_OF_X2", NTK, {"blocks"}),
    ("LIMIT_OF_LARGE_INPUTS", NTK, {"doubled inputs"}),
    ("LIMIT_OF_GELU_WITHOUT_BIAS", RandomNetwork(MLP((4, 5, 3), "gelu", False, "ntk"), 3, 2, 1), {"value"}),
])
def test_who_breaks_a_law_slightly_is_caught_by_its_name(name: str, random: RandomNetwork, laws: set[str]) -> None:
    mistakes._first.clear()
    assert set(broken(getattr(mistakes, name), random)) == laws


def test_every_law_has_a_mistake_of_its_own() -> None:
    marks = test_who_breaks_a_law_slightly_is_caught_by_its_name.pytestmark  # type: ignore[attr-defined]
    named = {law for mark in marks for _, _, laws in mark.args[1] for law in laws}
    assert {law.name for law in LAWS} <= named


def test_a_random_method_that_is_not_symmetric() -> None:
    assert "symmetry and positivity" in broken(OTHER_PROJECTIONS_FOR_X2, NTK)


@pytest.mark.parametrize("random", [NTK, STANDARD, SINGULAR, LAYERS])
@pytest.mark.parametrize("method", [CORRECT, RIGHT, mistakes.RIGHT_COMPONENTS, mistakes.RIGHT_LIMIT],
                         ids=lambda method: method.name)
def test_a_right_method_keeps_them(method: Method, random: RandomNetwork) -> None:
    if method.kind == "limit" and random is not NTK:
        pytest.skip("there is no limit")
    assert broken(method, random) == {}


def test_between_them_these_networks_are_asked_every_law() -> None:
    held = [judge(Subject(mistakes.RIGHT_COMPONENTS, random), LAWS).held for random in (NTK, STANDARD, LAYERS)]
    assert {name for names in held for name in names} == {law.name for law in LAWS}


def test_what_a_law_cannot_be_asked_of_says_why() -> None:
    verdict = judge(Subject(mistakes.RIGHT_COMPONENTS, STANDARD), LAWS)
    assert verdict.not_held == {"ntk parameterization": "it is in the standard parameterization",
                                "doubled inputs": "it is not homogeneous in its inputs"}
    assert all(reason for law in LAWS for reason in law.not_asked.values())


def test_a_method_that_raises_is_told_by_law_and_network() -> None:
    with pytest.raises(RuntimeError, match="no trace today") as raised:
        broken(mistakes.RAISES_FOR_TRACE, NTK)
    assert raised.value.__notes__ == [f"law: trace; planted.RAISES_FOR_TRACE on {NTK}"]


def test_the_whole_gate_passes_a_right_method(pytester: pytest.Pytester) -> None:
    result = run_gate(pytester, "correct.py", "CORRECT", "-k", "test_laws")
    assert result.ret == pytest.ExitCode.OK
    result.stdout.re_match_lines([r"planted.correct +0 +0 +0 +3 +0 +0"])


@pytest.mark.parametrize(("arguments", "names"), [((), "MORE_ROWS"), (("--laws-examples", "2"), "LAST_BLOCK")])
def test_the_whole_gate_names_the_law(pytester: pytest.Pytester, arguments: tuple[str, ...], names: str) -> None:
    """And the network, as code that makes it again."""
    result = run_gate(pytester, "laws.py", names, "-k", "test_laws and dense", *arguments)
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    law = {"MORE_ROWS": "transposition", "LAST_BLOCK": "batch size"}[names]
    result.stdout.fnmatch_lines([f"E *law broken: {law}: *error *",
                                 f"E *by planted.{names} on RandomNetwork(network=MLP(widths=*"])


def test_other_seeds_draw_other_networks(pytester: pytest.Pytester) -> None:
    def drawn(*arguments: str) -> str:
        result = run_gate(pytester, "laws.py", "VALUE", "-k", "test_laws and dense", *arguments)
        return next(line for line in result.outlines if "by planted.VALUE on" in line)

    assert drawn() == drawn()
    assert drawn() != drawn("--laws-seed", "1")


def test_the_strategies_draw_every_kind_of_layer_and_of_sharing() -> None:
    kinds: Counter[str] = Counter()

    @seed(1)
    @settings(SEEDED, max_examples=300)
    @given(random_networks("layered", "exact"))
    def count(random: RandomNetwork) -> None:
        network = random.network
        assert isinstance(network, Layered)
        several = network.all_layers()
        names = [layer.name for layer in several if hasattr(layer, "name")]  # type: ignore[attr-defined]
        kinds.update({type(layer).__name__ for layer in several})
        kinds.update({"tied"} if len(set(names)) < len(names) else set())
        kinds.update({"frozen"} if network.frozen else set())

    count()
    due = {"Dense", "WeightNormDense", "Convolution", "BatchNorm", "LayerNorm", "RMSNorm", "Activate", "Recurrent",
           "FourierFeatures", "GlobalPool", "Embedding", "Positions", "Attention", "Unused", "Residual",
           "tied", "frozen"}
    assert set(kinds) == due


@pytest.mark.parametrize("family", FAMILIES)
def test_what_is_drawn_is_a_case_and_its_repr_makes_it_again(family: Family) -> None:
    scope = {**vars(reference), **vars(layers), "RandomNetwork": RandomNetwork}

    @seed(2)
    @settings(SEEDED, max_examples=20)
    @given(random_networks(family, "exact"))
    def hold(random: RandomNetwork) -> None:
        again = eval(repr(random), scope)
        assert again == random
        assert (again.case().x1 == random.case().x1).all()

    hold()


def test_a_network_at_a_kink_is_not_smooth() -> None:
    dead = random_case("dead", MLP((2, 1, 1), bias=False), 2, None)
    assert smooth(dead)
    assert not smooth(Case("dead", dead.network, {name: 0 * value for name, value in dead.params.items()}, dead.x1))


def test_parameters_of_other_names_are_the_same_network() -> None:
    """Names of two words (an attention's), frozen and tied ones too."""
    network = Layered((2, 2), (Residual((Attention("mixed", 1), Dense("after", 2))), Dense("after", 2)),
                      frozen=("mixed.out_proj.bias", "mixed.in_proj_weight"))
    case = random_case("renamed", network, 2, None)
    other = changed.reordered_parameters(case)
    assert list(other.params) == ["p01.bias", "p01.weight", "p02.out_proj.weight", "p02.in_proj_bias"]
    assert other.network.frozen == ("p02.out_proj.bias", "p02.in_proj_weight")  # type: ignore[union-attr]
    true, again = (float64_expected(one, range(2), range(2)) for one in (case, other))
    assert normalised(again.full - true.full, true.scale("full")).max() < tolerance("float64")


def test_names_of_layers() -> None:
    assert changed.layer_name("block.mixed.out_proj.bias") == "block.mixed"
    assert changed.layer_name("block.mixed.in_proj_bias") == "block.mixed"
    assert changed.layer_name("dense0.weight") == "dense0"

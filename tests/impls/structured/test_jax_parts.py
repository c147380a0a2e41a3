"""The JAX engine's other answers: the kernel of each parameter, of examples in batches, and engines that are kept."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from dataclasses import replace
from itertools import product
from typing import Any

import numpy as np
import pytest

from reference import InputError, Request
from reference.tolerances import tolerance

jax = pytest.importorskip("jax", reason="the structured JAX engine needs JAX")

import jax.numpy as jnp  # noqa: E402

from impls.frameworks.jax import kept as jax_kept  # noqa: E402
from impls.frameworks.jax.support import precision  # noqa: E402
from impls.methods.structured_jax import METHODS  # noqa: E402
from tests.impls.structured.networks import NETWORKS  # noqa: E402
from tests.impls.structured.test_jax import OUTPUTS, assert_kernel, contracted, jacobians  # noqa: E402

pytestmark = pytest.mark.usefixtures("quick_compilation_of_module")

METHOD = METHODS[0]
FLOAT64 = Request(dtype="float64")


@pytest.mark.parametrize(("name", "outputs"), [
    *product(("mlp", "several_axes"), OUTPUTS), ("tied_embedding", "full"), ("tied_embedding", "trace"),
    ("conv2d", "full"), ("transposed_outputs", "diagonal"), ("weight_norm", "full"), ("not_used", "trace")])
def test_the_kernel_of_each_parameter(name: str, outputs: Any) -> None:
    """A bias carried by its layer, a tied table, a fallback, a parameter that is not used: each by itself."""
    small = NETWORKS[name]
    with precision("float64"):
        params, x1, x2 = small.draw(3, 2, "float64")
        own = METHOD.components(small.f, params, x1, x2, replace(FLOAT64, outputs=outputs))
        assert list(own) == sorted(params)
        for key, kernel in own.items():
            def of_one(p: Any, x: Any, key: str = key) -> Any:
                return small.f({**params, **p}, x)

            one = jacobians(small._replace(f=of_one), {key: params[key]}, x1, x2)
            assert_kernel(kernel, *contracted(*one), outputs, "float64")


def test_components_of_blocks_and_of_equal_examples() -> None:
    """Several blocks, passes made anew, x2 = x1: they add up to the kernel, and what is frozen has none."""
    small = NETWORKS["mlp"]
    with precision("float64"):
        params, x1, _ = small.draw(5, 2, "float64")
        frozen, trained = {"w1": params["w1"]}, {name: p for name, p in params.items() if name != "w1"}
        f = lambda p, x: small.f({**frozen, **p}, x)  # noqa: E731
        request = replace(FLOAT64, batch_size=2, options={"memory_limit": 1})
        own = METHOD.components(f, trained, x1, None, request)
        assert list(own) == sorted(trained)
        total = np.sum([np.asarray(kernel) for kernel in own.values()], 0)
        j1, _ = jacobians(small._replace(f=f), trained, x1, x1)
        assert_kernel(jnp.asarray(total), *contracted(j1, j1), "full", "float64")


class Loader:
    """As a data loader: pairs of float32 examples and labels, read from the start each time."""

    def __init__(self, x: Any, sizes: tuple[int, ...], *, shuffled: bool = False) -> None:
        self.x, self.sizes, self.shuffled, self.seed = np.asarray(x, "float32"), sizes, shuffled, 0

    def __iter__(self) -> Iterator[tuple[Any, Any]]:
        self.seed += 1
        rng = np.random.default_rng(self.seed)
        x = rng.permutation(self.x) if self.shuffled else self.x
        starts = np.cumsum((0, *self.sizes))
        return ((x[start:start + size], np.zeros(size)) for start, size in zip(starts, self.sizes, strict=False))


@pytest.mark.parametrize(("outputs", "memory_limit"), [
    ("full", None), ("full", 6000), ("diagonal", 1), ("trace", 6000)])
def test_batches(outputs: Any, memory_limit: int | None) -> None:
    """Of unequal sizes, one of them empty; few and many kept at a time."""
    small = NETWORKS["mlp"]
    with precision("float64"):
        params, x1, x2 = (jax.tree.map(lambda a: a.astype("float64"), t) for t in small.draw(7, 4, "float32"))
        j1, j2 = jacobians(small, params, x1, x2)
        request = replace(FLOAT64, outputs=outputs, options={"memory_limit": memory_limit})
        rows, columns = Loader(x1, (2, 3, 0, 2)), [np.asarray(x2[:1]), x2[1:]]
        kernel = METHOD.kernel_of_batches(small.f, params, rows, None, request)
        assert_kernel(kernel, *contracted(j1, j1), outputs, "float64")
        kernel = METHOD.kernel_of_batches(small.f, params, rows, columns, request)
        assert_kernel(kernel, *contracted(j1, j2), outputs, "float64")


@pytest.mark.parametrize(("batches", "message"), [
    (lambda x: iter([x]), "only once"), (lambda x: [], "no example"), (lambda x: [x[:0]], "no example"),
    (lambda x: [x, x[:, :2]], "one shape"), (lambda x: [{"x": x}], "got dict"),
    (lambda x: Loader(x, (3, 2), shuffled=True), "not the same")])
def test_batches_that_cannot_be_used(batches: Any, message: str) -> None:
    small = NETWORKS["mlp"]
    params, x1, _ = small.draw(5, 2, "float32")
    with pytest.raises(InputError, match=message):
        METHOD.kernel_of_batches(small.f, params, batches(x1), None, Request())


def test_engines_are_kept_while_their_network_lives() -> None:
    params, x = {"w": jnp.ones((3, 2))}, jnp.ones((4, 3))
    before = set(jax_kept._kept)
    networks = [lambda p, x: x @ p["w"]]

    def used(x: Any, f: Any = None, outputs: Any = "full") -> Any:
        return METHOD.engine(f or networks[0], params, x, None, Request(outputs=outputs))

    engine = used(x)
    assert used(2 * x) is engine
    assert used(x[:2]) is not engine
    assert used(x, outputs="trace") is not engine
    assert used(x, f=lambda p, x: x @ p["w"]) is not engine
    assert set(jax_kept._kept) - before
    del engine
    networks.clear()
    gc.collect()
    assert not set(jax_kept._kept) - before


def test_no_more_engines_are_kept_than_said() -> None:
    x = jnp.ones((2, 3))
    networks = [lambda p, x, k=k: k * (x @ p) for k in range(jax_kept.MAX_KEPT + 2)]
    for f in networks:
        METHOD.engine(f, jnp.ones((3, 2)), x, None, Request())
    assert len(jax_kept._kept) == jax_kept.MAX_KEPT


def test_an_array_in_the_network_is_not_kept_by_its_place() -> None:
    """A network that holds a NumPy array, which may change, is traced anew."""
    held = np.ones((3, 2), "float32")
    f = jax.tree_util.Partial(lambda held, p, x: x @ held * p, held)
    x, p = jnp.ones((2, 3)), jnp.ones((2,))
    first = METHOD.kernel(f, p, x, None, Request(outputs="trace"))
    held *= 2
    assert np.abs(METHOD.kernel(f, p, x, None, Request(outputs="trace")) - 4 * first).max() <= tolerance("float32")

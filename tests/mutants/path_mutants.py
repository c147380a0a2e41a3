"""Right in `prepare`, and wrong in what else a method of any function offers; random and limit methods likewise."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import nullcontext
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from impls import Method
from impls.frameworks.jax import support as jax_support
from impls.protocol import Array
from reference import MLP, Case, Request
from tests.mutants.mutant import Around, Mutant, after, wrapped
from tests.mutants.wrong_where import depth, n1, n2, spoiled, wrong_where

TORCH, STRUCTURED, JAX = "torch_func.jacobian_contraction", "structured_torch", "equinox.exact"
RANDOM, LIMIT = "planted.right_projections", "neural_tangents.infinite"

Found = dict[str, Array]


@dataclass(frozen=True)
class Offering(Around):
    """The base, with something else in place of what it offers besides `prepare`."""

    kernel: Callable[..., Array]
    components: Callable[..., Found]
    kernel_of_batches: Callable[..., Array]
    name: str = "offering"

    def prepare(self, case: Case, request: Request) -> Callable[[], Array]:
        return self.base.prepare(case, request)


def _offering(**wrong: Callable[..., Any]) -> Callable[[Method], Method]:
    """`wrong` by what it is offered as, each with the base before its arguments."""
    def make(base: Any) -> Method:
        offered = {what: getattr(base, what, None) for what in ("kernel", "components", "kernel_of_batches")}
        changed = {what: lambda *args, of=of: of(base, *args) for what, of in wrong.items()}
        return Offering(base, **{**offered, **changed})  # pyright: ignore[reportArgumentType]

    return make


def _kernel_where(so: Callable[..., bool]) -> Callable[[Method], Method]:
    def kernel(base: Any, f: Any, params: Any, x1: Any, x2: Any, request: Request) -> Array:
        right = base.kernel(f, params, x1, x2, request)
        with jax_support.precision(request.dtype) if base.framework == "jax" else nullcontext():
            return spoiled(right) if so(f(params, x1), params, x2, request) else right

    return _offering(kernel=kernel)


def _components(change: Callable[[Found], Found]) -> Callable[[Method], Method]:
    return _offering(components=lambda base, *args: change(base.components(*args)))


def _renamed(names: Callable[[list[str]], list[str]]) -> Callable[[Found], Found]:
    return lambda found: dict(zip(names(list(found)), found.values(), strict=True))


def _of_x1_alone(base: Any, f: Any, params: Any, x1: Any, x2: Any, request: Request) -> Found:
    """Those of x1 with itself, as many columns as x2 has."""
    found = base.components(f, params, x1, None, request)
    return found if x2 is None else {name: kernel[:, :len(x2)] for name, kernel in found.items()}


def _trace_for_all(base: Any, f: Any, params: Any, x1: Any, x2: Any, request: Request) -> Found:
    return base.components(f, params, x1, x2, replace(request, outputs="full"))


def _first_batch_only(base: Any, f: Any, params: Any, batches1: Iterable[Any], batches2: Any,
                      request: Request) -> Array:
    """All batches taken to be as long as the first, the rest of them left at 0."""
    right = base.kernel_of_batches(f, params, batches1, batches2, request).clone()
    right[len(next(iter(batches1))):] = 0
    return right


def _x2_forgotten(base: Any, f: Any, params: Any, batches1: Iterable[Any], batches2: Any, request: Request) -> Array:
    right = base.kernel_of_batches(f, params, batches1, batches2, request)
    return right if batches2 is None else base.kernel_of_batches(f, params, batches1, batches1, request)[
        :, :right.shape[1]]


_PATHS: dict[str, tuple[str, str, Callable[[Method], Method], str]] = {
    "kernel": ("`kernel` of any function", TORCH, _kernel_where(lambda *_: True), "test_kernel_of_a_function"),
    "kernel_of_x2": ("`kernel` with an x2", TORCH, _kernel_where(lambda y, p, x2, r: x2 is not None),
                     "test_kernel_of_a_function"),
    "kernel_unsorted": ("`kernel` of parameters in no order", TORCH, _kernel_where(
        lambda y, p, x2, r: list(p) != sorted(p)), "test_kernel_of_a_function"),
    "kernel_of_axes": ("`kernel` of outputs of two axes", TORCH, _kernel_where(lambda y, p, x2, r: y.ndim == 3),
                       "test_kernel_of_a_function"),
    "kernel_of_numbers": ("`kernel` of outputs of no axis", TORCH, _kernel_where(lambda y, p, x2, r: y.ndim == 1),
                          "test_kernel_of_a_function"),
    "kernel_in_blocks": ("`kernel` in blocks", JAX, _kernel_where(lambda y, p, x2, r: r.batch_size is not None),
                         "test_kernel_of_a_function"),
    "kernel_in_float32": ("`kernel` in float32", JAX, _kernel_where(lambda y, p, x2, r: r.dtype == "float32"),
                          "test_kernel_of_a_function"),
    "components_swapped": ("the names of `components`, each the next one's", TORCH,
                           _components(_renamed(lambda names: [*names[1:], names[0]])), "test_components_by_name"),
    "components_sorted": ("the names of `components`, sorted, their kernels not", TORCH,
                          _components(_renamed(sorted)), "test_components_by_name"),
    "components_sorted_in_jax": ("the names of `components`, sorted backwards, their kernels not", JAX,
                                 _components(_renamed(lambda names: sorted(names, reverse=True))),
                                 "test_components_by_name"),
    "components_of_x1": ("`components` of x1 alone", TORCH, _offering(components=_of_x1_alone),
                         "test_components_by_name"),
    "components_full": ("`components` of all outputs, whatever was asked for", TORCH,
                        _offering(components=_trace_for_all), "test_components_by_name"),
    "first_batch": ("`kernel_of_batches` of the first batch alone", STRUCTURED,
                    _offering(kernel_of_batches=_first_batch_only), "test_kernel_of_batches"),
    "batches_of_x1": ("`kernel_of_batches` of x1 alone", STRUCTURED, _offering(kernel_of_batches=_x2_forgotten),
                      "test_kernel_of_batches"),
}


def _asked(change: Callable[[Request], Request]) -> Callable[[Method], Method]:
    """The base asked for something else."""
    return wrapped(lambda base, case, request: base.prepare(case, change(request)))


def _with_number(request: Request, number: int) -> Request:
    return replace(request, options={**request.options, "proj_dim": number})


def _projections(request: Request) -> int:
    return request.options.get("proj_dim", 1024)


def _full_blocks_only(block: int, divided: bool) -> Callable[[Method], Method]:
    """The last projections, fewer than a block, are left out; the sum is divided by how many were asked for or made."""
    def preparing(base: Method, case: Case, request: Request) -> Callable[[], Array]:
        asked = _projections(request)
        made = max(asked // block, 1) * block if asked >= block else asked
        compute = base.prepare(case, _with_number(request, made))
        factor = 1.0 if divided else made / asked
        return lambda: (compute() * factor).astype(request.dtype)

    return wrapped(preparing)


def _not_divided_by_default(kernel: Any, case: Case, request: Request) -> Array:
    return kernel if "proj_dim" in request.options else kernel * 1024


def _few_by_default(request: Request) -> Request:
    return request if "proj_dim" in request.options else _with_number(request, 4)


def _biased_in_float32(kernel: Any, case: Case, request: Request) -> Array:
    return (kernel * 1.03).astype(request.dtype) if request.dtype == "float32" else kernel


def _unseeded_at_0(base: Method, case: Case, request: Request) -> Callable[[], Array]:
    seed = request.seed or int(np.random.default_rng().integers(2**31))
    return base.prepare(case, replace(request, seed=seed))


def _seeded_by_blocks(base: Method, case: Case, request: Request) -> Callable[[], Array]:
    """Other projections for more than 256 examples."""
    seed = request.seed + (max(n1(case), n2(case)) > 256)
    return base.prepare(case, replace(request, seed=seed))


_RANDOM: dict[str, tuple[str, Callable[[Method], Method], str]] = {
    "seed_of_16_bits": ("seeds count up to 16 bits", _asked(lambda r: replace(r, seed=r.seed % 2**16)),
                        "test_every_seed_counts"),
    "seed_of_32_bits": ("seeds count up to 32 bits", _asked(lambda r: replace(r, seed=r.seed % 2**32)),
                        "test_every_seed_counts"),
    "seed_0": ("seed 0 is no seed", wrapped(_unseeded_at_0), "test_every_seed_counts"),
    "seed_0_is_1": ("seed 0 is seed 1", _asked(lambda r: replace(r, seed=r.seed or 1)), "test_every_seed_counts"),
    "remainder_of_8": ("what blocks of 8 leave is lost", _full_blocks_only(8, False), "test_remainders"),
    "remainder_of_64": ("what blocks of 64 leave is lost", _full_blocks_only(64, False), "test_remainders"),
    "remainder_of_1000": ("what blocks of 1000 leave is lost", _full_blocks_only(1000, False), "test_remainders"),
    "fewer_by_100": ("what blocks of 100 leave is not made", _full_blocks_only(100, True), "test_remainders"),
    "fewer_by_1024": ("what blocks of 1024 leave is not made", _full_blocks_only(1024, True), "test_remainders"),
    "default_not_divided": ("the default number of projections is not divided by", after(_not_divided_by_default),
                            "test_default_number_of_projections"),
    "default_of_4": ("four projections by default", _asked(_few_by_default), "test_default_number_of_projections"),
    "biased_in_float32": ("3 % too large in float32", after(_biased_in_float32), "test_unbiased_in_float32"),
    "other_beyond_256": ("other projections for more than 256 examples", wrapped(_seeded_by_blocks),
                         "test_many_examples_of_one_seed"),
}


def _parallel(case: Case, request: Request) -> bool:
    """Different examples of x1 on one line through 0."""
    x = case.x1.reshape(n1(case), -1)
    lengths = np.linalg.norm(x, axis=1)
    cosines = (x @ x.T) / np.outer(lengths, lengths)
    equal = (x[:, None] == x).all(-1)
    return bool((np.abs(cosines)[~equal] > 1 - 1e-6).any())


_LIMIT: dict[str, tuple[str, Callable[[Method], Method], str]] = {
    "depth_beyond_5": ("more than 5 layers", wrong_where(lambda c, _: depth(c) > 5), "test_deep"),
    "depth_beyond_5_float32": ("more than 5 layers in float32", wrong_where(
        lambda c, r: depth(c) > 5 and r.dtype == "float32"), "test_deep"),
    "beyond_64": ("more than 64 examples in x1", wrong_where(lambda c, _: n1(c) > 64), "test_many_examples"),
    "beyond_100_in_x2": ("more than 100 examples in x2 alone", wrong_where(lambda c, _: n2(c) > 100),
                         "test_many_examples"),
    "parallel": ("examples on one line", wrong_where(lambda c, r: _parallel(c, r) and isinstance(c.network, MLP)),
                 "test_on_one_line"),
}

MUTANTS = (
    *(Mutant(f"offered.{name}", "24", "any function", f"wrong: {what}", base, make, None, check=check)
      for name, (what, base, make, check) in _PATHS.items()),
    *(Mutant(f"projections.{name}", "25", "any", what, RANDOM, make, None, check=check)
      for name, (what, make, check) in _RANDOM.items()),
    *(Mutant(f"infinite.{name}", "25", "infinite width", f"wrong with {what}", LIMIT, make, None, check=check)
      for name, (what, make, check) in _LIMIT.items()),
)

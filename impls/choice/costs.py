"""What a kernel costs by each method: operations and bytes from facts about the network, and seconds at given rates.

Each method's time is a sum of terms (`Work`), each an amount of work over a measured rate, with a factor. The amounts
follow table 1 of Novak et al. 2022 (arXiv 2206.08720); the factors say how far from the measured rate a framework
stays on such work. They were fitted, by bounded least squares of relative errors, to the cases of
`bench.commands.auto_cases` that are there for it (``python -m bench.commands.auto_regret --fit``), on one thread.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import astuple, dataclass, replace

from impls.choice.rates import Rates
from impls.protocol import Framework
from impls.structured import planner
from impls.structured.planner import Plan

CHECKED_OUTPUTS = 4
"""Of which the self-check of a trace makes a backward pass each; of more, PyTorch's takes the engine's diagonal."""


@dataclass(frozen=True)
class Facts:
    """Of a network with its examples and a request. The plan's task has N1, N2, O and the outputs asked for."""

    framework: Framework
    plan: Plan
    n_params: int
    matmul_flops: float | int
    """Of matrix products, in one forward pass of one example."""
    convolution_flops: float | int
    operations: int
    """That a forward pass consists of."""
    per_example: bool = False
    """Whether the structured engine can only go through the examples one by one."""

    @property
    def n1(self) -> int:
        return self.plan.task.n1

    @property
    def n2(self) -> int:
        return self.plan.task.n1 if self.plan.task.n2 is None else self.plan.task.n2

    @property
    def itemsize(self) -> int:
        return self.plan.task.itemsize

    @property
    def n_outputs(self) -> int:
        return self.plan.task.n_outputs

    @property
    def activation_bytes(self) -> float:
        """Of one example in one pass."""
        return self.plan.task.example_bytes / (1 + self.n_outputs)

    @property
    def jacobian_bytes(self) -> int:
        """Of one example."""
        return self.n_outputs * self.n_params * self.itemsize

    @property
    def kernel_bytes(self) -> int:
        return self.plan.task.kernel_bytes


@dataclass(frozen=True)
class Work:
    """Amounts of work, or their factors, or the seconds for each."""

    calls: float | int = 0.0
    """1: what is done once."""
    dispatches: float | int = 0.0
    """Operations started, each on its own."""
    matmul: float | int = 0.0
    """Operations in the products of the passes through the network …"""
    convolution: float | int = 0.0
    """… and in its convolutions."""
    activations: float | int = 0.0
    """Bytes of activations and cotangents written."""
    jacobians: float | int = 0.0
    """Bytes of gradients written."""
    contraction: float | int = 0.0
    """Operations in the contraction."""
    moved: float | int = 0.0
    """Bytes moved by it."""


def work(method: str, facts: Facts) -> Work:
    """The amounts for all examples at once. Raises `KeyError` for a method without a model."""
    return _WORK[method](facts)


def seconds(method: str, facts: Facts, rates: Rates) -> float:
    """The predicted time of one kernel, after tracing and compilation."""
    return total(method, terms(work(method, facts), rates))


def total(method: str, parts: Iterable[float]) -> float:
    """Seconds, from those of each kind of work at the machine's rates (`terms`)."""
    return sum((factor * part for factor, part in zip(astuple(FACTORS[method]), parts, strict=True)), 0.0)


def terms(amounts: Work, rates: Rates) -> tuple[float, ...]:
    """The seconds of each kind of work at the measured rates."""
    per_second = (1 / rates.dispatch_s, 1 / rates.dispatch_s, rates.matmul_flops, rates.convolution_flops, rates.bytes,
                  rates.bytes, rates.matmul_flops, rates.bytes)
    return tuple(amount / rate for amount, rate in zip(astuple(amounts), per_second, strict=True))


def held_bytes(method: str, facts: Facts, batch_size: int | None) -> float:
    """What is held beyond the kernel, for blocks of that many examples; the structured engines' as planned."""
    n1, n2, O = facts.n1, facts.n2, facts.n_outputs
    if method in STRUCTURED:
        return facts.plan.held_bytes
    b1, b2 = (min(n, batch_size or n) for n in (n1, n2))
    blocks = b1 if facts.plan.task.n2 is None and batch_size is None else b1 + b2
    passes = (1 + O) * facts.activation_bytes
    block_of_kernel = b1 * b2 * facts.plan.task.entries * facts.itemsize
    if method.endswith("ntk_vector_products"):
        pulled_back = facts.jacobian_bytes * b1 * (b2 if method.startswith("neural_tangents") else 1)
        return float(pulled_back + b1 * b2 * O * 2 * facts.activation_bytes + block_of_kernel)
    if method == "neural_tangents.structured_derivatives":
        return float(blocks * passes * 2 + 2 * b1 * b2 * O * O * facts.itemsize)
    # The Jacobians twice: as they come, and in the layout of the product.
    return float(blocks * (facts.jacobian_bytes * 2 + passes) + block_of_kernel)


def _structured(facts: Facts) -> Work:
    task = facts.plan.task
    passes = task.examples * facts.plan.passes
    moved = sum(planner.cost(way, product, task).moved for step in facts.plan.steps
                for way, product in zip(step.ways, step.parameter.products, strict=False))
    kept = sum(step.bytes for step in facts.plan.steps)
    started = facts.operations * (task.examples * task.n_outputs if facts.per_example else 1)
    contracted = sum(1 for step in facts.plan.steps if step.ways)
    return Work(1, started + 2 * contracted, passes * facts.matmul_flops, passes * facts.convolution_flops,
                passes * facts.activation_bytes, kept, facts.plan.flops, moved * task.itemsize + _written(facts))


def _pairs_of_uses(facts: Facts) -> Work:
    """As the structured engine's, but each two uses of a parameter are contracted apart: recurrent networks."""
    uses = facts.operations / max(1, sum(1 for step in facts.plan.steps if step.parameter.used))
    return replace(_structured(facts), dispatches=facts.operations * uses)


def _written(facts: Facts) -> float:
    """Bytes of the kernel, read and written a few times over by sums and changes of layout."""
    return 4.0 * facts.kernel_bytes


def _jacobians(facts: Facts) -> Work:
    task = facts.plan.task
    passes = task.examples * (1 + 2 * task.n_outputs)
    jacobians = task.examples * facts.jacobian_bytes
    return Work(1, facts.operations + len(facts.plan.steps), passes * facts.matmul_flops,
                passes * facts.convolution_flops, passes * facts.activation_bytes, jacobians, _inner_products(facts),
                _written(facts))


def _inner_products(facts: Facts) -> float:
    return 2.0 * facts.n1 * facts.n2 * facts.plan.task.products * facts.n_params


def _vector_products(facts: Facts) -> Work:
    passes = facts.n1 * facts.n_outputs * (2 + 2 * facts.n2)
    return Work(1, facts.operations, passes * facts.matmul_flops, passes * facts.convolution_flops,
                passes * facts.activation_bytes, facts.n1 * facts.jacobian_bytes, 0, _written(facts))


def _loop(facts: Facts) -> Work:
    task, batch = facts.plan.task, _jacobians(facts)
    return Work(1, facts.operations * task.examples * task.n_outputs, batch.matmul, batch.convolution,
                batch.activations, batch.jacobians, batch.contraction, batch.moved)


STRUCTURED = ("structured_jax", "structured_torch")

_WORK = {
    "structured_jax": _structured,
    "neural_tangents.jacobian_contraction": _jacobians,
    "neural_tangents.ntk_vector_products": _vector_products,
    "neural_tangents.structured_derivatives": _pairs_of_uses,
    "equinox.exact": _jacobians,
    "structured_torch": _structured,
    "torch_func.jacobian_contraction": _jacobians,
    "torch_func.ntk_vector_products": _vector_products,
    "torch_autograd.per_example": _loop,
}

# By the method's name; below each, by how much its predictions are off on the cases that it was fitted to.
FACTORS: Mapping[str, Work] = {
    "structured_jax": Work(1.97, 0.232, 1.17, 2.8, 0.589, 0, 4.45, 1.17),
    # 1.28 × in the median, 3.29 × at worst
    "neural_tangents.jacobian_contraction": Work(0, 0.298, 5.13, 4.29, 1.31, 5.07, 1.8, 0),
    # 1.33 × in the median, 9.48 × at worst
    "neural_tangents.ntk_vector_products": Work(0.377, 0.259, 1.93, 1.78, 0.979, 0, 0, 1.6),
    # 1.26 × in the median, 2.91 × at worst
    "neural_tangents.structured_derivatives": Work(0.194, 0.0999, 2.15, 6.47, 1.01, 0, 4.45, 5.75),
    # 1.28 × in the median, 3.65 × at worst
    "equinox.exact": Work(7.79, 0.681, 14.9, 5.09, 0.269, 3.85, 1.12, 5.06),
    # 1.26 × in the median, 3.65 × at worst
    "structured_torch": Work(126, 11.3, 1.44, 5.47, 5.43, 22, 3.01, 9.44),
    # 1.21 × in the median, 2.88 × at worst
    "torch_func.jacobian_contraction": Work(440, 37.7, 0, 3.05, 0, 20.2, 1.11, 6.28),
    # 1.18 × in the median, 1.98 × at worst
    "torch_func.ntk_vector_products": Work(534, 41.9, 1.09, 1.46, 4.34, 27.1, 0, 0.17),
    # 1.15 × in the median, 1.89 × at worst
    "torch_autograd.per_example": Work(1300, 5.5, 0, 11.9, 0, 56.8, 1.24, 397),
    # 1.16 × in the median, 1.76 × at worst
}

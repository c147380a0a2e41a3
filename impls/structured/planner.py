"""How each parameter's share of the kernel is contracted, and in which blocks of examples; free of any framework.

A *product* is where a parameter of S × I × J numbers meets the activations at T positions: y[s,t,j] = Σ_i a[s,t,i]
θ[s,i,j]. Its gradient for output o is Σ_t a[s,t,i] g[o,s,t,j] with g the cotangent of y. The kernel is the inner
product of two such gradients, a tensor network of a, g, a', g' with several orders of contraction; which is cheapest
depends on the sizes:

    top       g is known to be the identity (y is the output): only a·a' is needed
    gram      Σ_{s,t,u} (a_t·a'_u) (g_t·g'_u)
    half      Σ_{s,t} g_t · (Σ_u (a_t·a'_u) g'_u): less than gram where T is large and O is
    gradient  the per-example gradient itself, N·O·S·I·J numbers, then one inner product
    separable g[o,s,t,j] = c[o,s,j] d[s,t,j] with c the same for all examples: Σ_{s,j} c c' (Σ_i (Σ_t a d) (Σ_t a' d'))
    direct    the same gradient, taken from the framework's backward pass: for parameters that no product describes
    forward   the same, in forward mode: one pass for each number of the parameters, where they are fewer than outputs
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from impls.structured.hardware import HARDWARE, Hardware
from reference import InputError
from reference.case import Device, Outputs

Way = Literal["top", "gram", "half", "gradient", "separable", "direct", "forward"]

# The caches are about this many times as fast as memory; not measured on a GPU.
CACHES = 10

# In forward mode: derivatives in one pass (more are hardly faster), and such a pass in terms of a backward one.
TANGENTS = 64
FORWARD_PASS = 2

# By how many halvings of the limit a plan is looked for.
SHRUNK = 6


@dataclass(frozen=True)
class Product:
    """The sizes of one product, after the uses of a tied parameter with the same role have been laid end to end."""

    shared: int
    """S, the axes of the parameter that belong to both a and g: batched products, groups of a convolution."""
    positions: int
    """T, over which the gradient sums."""
    inputs: int
    """I, the axes of the parameter that meet a."""
    outputs: int
    """J, the axes of the parameter that meet g."""
    lookup: bool = False
    """a is one-hot and held as T integers: an embedding."""
    top: bool = False
    """y is the network's output up to its shape."""
    separable: bool = False
    """g is a factor that is the same for all examples times one that is the same for all outputs, and the former is the
    same at all positions."""

    @property
    def size(self) -> int:
        return self.shared * self.inputs * self.outputs

    @property
    def single(self) -> bool:
        """There is nothing to sum over but the inputs."""
        return self.shared == self.positions == 1


@dataclass(frozen=True)
class Parameter:
    """One parameter: its products (disjoint parts of it), or none where its gradient is taken directly."""

    name: str
    size: int
    rule: str
    """What found it: "dense", "convolution", …, or "fallback: why"."""
    products: tuple[Product, ...] = ()
    transposed: bool = False
    """Its two products use it as a matrix and as the transposed matrix, so there are terms between the two."""
    carried_by: str | None = None
    """The parameter whose product counts this one as well: a bias is an input that is always 1."""
    used: bool = True


@dataclass(frozen=True)
class Task:
    """What is asked for, and of which device. `n2` None means x2 = x1. `example_bytes`: what one example needs in both
    passes."""

    n1: int
    n2: int | None
    n_outputs: int
    outputs: Outputs
    itemsize: int
    example_bytes: int = 0
    batch_size: int | None = None
    memory_limit: int | None = None
    device: Device = "cpu"

    @property
    def hardware(self) -> Hardware:
        return HARDWARE[self.device]

    @property
    def pairs(self) -> int:
        """Pairs of examples that have to be contracted."""
        return self.n1 * (self.n1 + 1) // 2 if self.n2 is None else self.n1 * self.n2

    @property
    def examples(self) -> int:
        return self.n1 + (self.n2 or 0)

    @property
    def entries(self) -> int:
        """Numbers in the answer for one pair of examples."""
        return {"full": self.n_outputs**2, "diagonal": self.n_outputs, "trace": 1}[self.outputs]

    @property
    def kernel_bytes(self) -> int:
        return self.n1 * (self.n2 or self.n1) * self.entries * self.itemsize

    @property
    def products(self) -> int:
        """Inner products of cotangents for one pair of examples."""
        return self.n_outputs**2 if self.outputs == "full" else self.n_outputs

    @property
    def weights(self) -> int:
        """Products c c' of the factors of a separable cotangent that are the same for all examples; symmetric."""
        O = self.n_outputs
        return {"full": O * (O + 1) // 2, "diagonal": O, "trace": 1}[self.outputs]


@dataclass(frozen=True)
class Cost:
    """Floating-point operations, and numbers moved through memory, kept per example, and held per pair."""

    flops: int
    moved: int
    per_example: int
    per_pair: int

    def time(self, task: Task) -> float:
        """In units of one floating-point operation."""
        return self.flops + task.hardware.flops_per_byte * task.itemsize * self.moved


@dataclass(frozen=True)
class Step:
    """What is done for one parameter; `ways` has one entry for each of its products."""

    parameter: Parameter
    ways: tuple[Way, ...]
    flops: int
    bytes: int


@dataclass(frozen=True)
class Plan:
    """The ways, and the blocks: `panel` examples pass through the network at once, `block` × `block` are contracted.

    The results of `kept_panels` panels of x1 are kept at once, and x2 passes once for each such group; `recompute`
    means that these are not all of them. `together`: x1 and x2 pass through the network as one batch.
    """

    task: Task
    steps: tuple[Step, ...]
    panel1: int
    panel2: int
    block1: int
    block2: int
    recompute: bool
    kept_panels: int = 1
    together: bool = False

    @property
    def forward(self) -> bool:
        """Whether the gradients come from forward mode."""
        return any("forward" in step.ways for step in self.steps)

    @property
    def passes(self) -> int:
        """Through the network, for each example, as many as a forward pass takes time."""
        if self.forward:
            return 1 + FORWARD_PASS * sum(step.parameter.size for step in self.steps if step.ways)
        return 2 + self.task.n_outputs

    @property
    def flops(self) -> int:
        """Of the contraction, without the passes through the network."""
        return sum(step.flops for step in self.steps)

    @property
    def bytes(self) -> int:
        """Of what is kept of all examples between the passes and the contraction."""
        return sum(step.bytes for step in self.steps)

    @property
    def held_bytes(self) -> int:
        """Beyond the kernel: factors of all examples or of some panels, the passes of one panel, and a block of the
        contraction."""
        task, panel, block = self.task, max(self.panel1, self.panel2), 0
        kept = float(self.bytes)
        if self.recompute:
            kept *= min(task.examples, self.kept_panels * self.panel1 + self.panel2) / task.examples
            block = self.panel1 * self.panel2 * task.entries * task.itemsize
        held = sum(cost(way, product, task).per_pair for step in self.steps
                   for way, product in zip(step.ways, step.parameter.products, strict=False))
        passes = task.example_bytes
        if self.forward:
            passes = passes * (1 + TANGENTS) // (1 + task.n_outputs)
        return int(kept + panel * passes + block + self.block1 * self.block2 * held * task.itemsize)


def cost(way: Way, product: Product, task: Task) -> Cost:
    """What one way costs for one product, over the whole kernel."""
    S, T, I, J, O = product.shared, product.positions, product.inputs, product.outputs, task.n_outputs
    inputs_gram = S * T * T * (1 if product.lookup else 2 * I)
    a, g = S * T * (1 if product.lookup else I), O * S * T * J
    if way == "top":
        held = S * T * T if task.outputs == "full" else S * T
        return Cost(task.pairs * held * 2 * I, task.pairs * held, a, held + task.entries)
    if way == "gram":
        held = S * T * T * task.entries
        flops = inputs_gram + S * T * T * (2 * task.products * J + 2 * task.entries)
        return Cost(task.pairs * flops, task.pairs * 2 * held, a + g, S * T * T + held)
    if way == "half":
        flops = inputs_gram + 2 * g * T + 2 * task.n_outputs**2 * S * T * J
        return Cost(task.pairs * flops, task.pairs * 3 * g, a + g, S * T * T + 2 * g + task.entries)
    if way == "separable":
        summed = task.weights * (2 * S * J + 1)
        if product.single:
            multiplied = 0 if task.outputs == "trace" else J  # d d', in the caches
            moved = 2 * multiplied // CACHES + 2 * task.weights
            return Cost(task.pairs * (inputs_gram + J + summed), task.pairs * moved, I + J,
                        1 + multiplied + task.weights)
        flops = task.examples * 2 * T * product.size + task.pairs * (2 * product.size + summed)
        moved = task.examples * 2 * product.size + task.pairs * (S * J + 2 * task.weights)
        return Cost(flops, moved, product.size, task.weights)
    gradient = O * product.size
    return Cost(task.examples * 2 * T * gradient + task.pairs * 2 * task.products * product.size,
                task.examples * 2 * gradient + task.pairs * task.entries, gradient, task.entries)


def possible_ways(product: Product, task: Task) -> tuple[Way, ...]:
    """The ways that are exact for it. Only `full` gains from `half`."""
    if product.top:
        return ("top",)
    ways: tuple[Way, ...] = ("gram",)
    if task.outputs == "full" and product.positions > 1:
        ways += ("half",)
    if product.lookup:
        return ways
    return (*ways, "gradient", "separable") if product.separable else (*ways, "gradient")


def plan(task: Task, parameters: Sequence[Parameter], *, forward: bool = False) -> Plan:
    """The cheapest way for each product that fits the memory limit, and the blocks of examples; where no plan that is
    found fits, the one that holds least (`check_limit`). `forward`: the engine has a forward mode."""
    backward = _backward_plan(task, parameters)
    if not forward or sum(each.size for each in parameters if each.used) >= task.n_outputs:
        return backward
    other = _forward_plan(task, parameters)
    fits = task.memory_limit is None or other.held_bytes <= task.memory_limit
    return other if fits and _time(other, parameters) < _time(backward, parameters) else backward


def _forward_plan(task: Task, parameters: Sequence[Parameter]) -> Plan:
    """With the whole Jacobian of each example, from one pass for each number of the parameters."""
    steps = tuple(_forward_step(parameter, task) for parameter in parameters)
    at_once = task.example_bytes * (1 + TANGENTS) // (1 + task.n_outputs)
    return replace(_blocked(replace(task, example_bytes=at_once), steps), task=task)


def _forward_step(parameter: Parameter, task: Task) -> Step:
    alone = replace(parameter, products=(), transposed=False, carried_by=None)
    step = _step(alone, task, float("inf"))
    return replace(step, ways=("forward",)) if step.ways else step


def _time(plan: Plan, parameters: Sequence[Parameter]) -> float:
    """Of the passes and of what follows, in units of one floating-point operation."""
    task = plan.task
    products = sum(2 * product.positions * product.size for each in parameters for product in each.products)
    one_pass = products + task.hardware.flops_per_byte * task.example_bytes / (1 + task.n_outputs)
    return task.examples * plan.passes * one_pass + plan.flops + task.hardware.flops_per_byte * plan.bytes


def _backward_plan(task: Task, parameters: Sequence[Parameter]) -> Plan:
    found = _plan_for(task, parameters, task.memory_limit)
    limit = task.memory_limit
    if limit is None or found.held_bytes <= limit:
        return found
    # Shares of the limit go to each of a plan's parts, and what one of them cannot do without may be more than its
    # share: with smaller ones the others leave room for it.
    for shrunk in range(1, SHRUNK + 1):
        other = _plan_for(task, parameters, max(1, limit >> shrunk))
        if other.held_bytes <= limit:
            return other
        found = min(found, other, key=lambda each: each.held_bytes)
    return found


def check_limit(plan: Plan) -> None:
    """Raise `InputError` for a plan that does not fit its memory limit."""
    limit = plan.task.memory_limit
    if limit is not None and plan.held_bytes > limit:
        raise InputError(f"memory_limit={limit} is not enough: the plan that needs least holds {plan.held_bytes} bytes "
                         "beyond the kernel. Give it as many, or ask for outputs='trace' or 'diagonal'")


def _plan_for(task: Task, parameters: Sequence[Parameter], limit: int | None) -> Plan:
    limited = replace(task, memory_limit=limit)
    room = float("inf") if limit is None else limit / 4 / task.itemsize  # numbers that a product keeps for all examples
    steps = tuple(_step(parameter, limited, room) for parameter in parameters)
    return replace(_blocked(limited, steps), task=task)


def _step(parameter: Parameter, task: Task, room: float) -> Step:
    if not parameter.used or parameter.carried_by is not None:
        return Step(parameter, (), 0, 0)
    if not parameter.products:
        # also a tied one whose products were dropped in favour of this
        kept = task.n_outputs * parameter.size
        flops = task.pairs * 2 * task.products * parameter.size
        return Step(parameter, ("direct",), flops, task.examples * kept * task.itemsize)
    if parameter.transposed and _direct_time(parameter, task) < _crossed_time(parameter, task, room):
        return _step(replace(parameter, products=()), task, room)
    ways: tuple[Way, ...] = tuple(_cheapest(product, task, room) for product in parameter.products)
    costs = [cost(way, product, task) for way, product in zip(ways, parameter.products, strict=True)]
    flops = sum(c.flops for c in costs) + (cross_flops(parameter, task) if parameter.transposed else 0)
    return Step(parameter, ways, flops, task.examples * task.itemsize * sum(c.per_example for c in costs))


def _direct_time(parameter: Parameter, task: Task) -> float:
    """The backward pass to the gradient, its inner products, and the moving of it."""
    gradient = task.n_outputs * parameter.size
    positions = sum(product.positions for product in parameter.products)
    flops = task.examples * 2 * positions * gradient + task.pairs * 2 * task.products * parameter.size
    return flops + task.hardware.flops_per_byte * task.itemsize * task.examples * 2 * gradient


def _crossed_time(parameter: Parameter, task: Task, room: float) -> float:
    own = sum(cost(_cheapest(product, task, room), product, task).time(task) for product in parameter.products)
    return own + cross_flops(parameter, task)


def cross_flops(parameter: Parameter, task: Task) -> int:
    """Of the terms between the two uses of a matrix and its transpose, both ways round."""
    first, second = parameter.products
    T, U, O = first.positions, second.positions, task.n_outputs
    return task.pairs * 2 * T * U * (2 * O * (first.outputs + first.inputs) + 2 * task.products)


def _cheapest(product: Product, task: Task, room: float) -> Way:
    costs: dict[Way, Cost] = {way: cost(way, product, task) for way in possible_ways(product, task)}
    most = max(room, min(c.per_example for c in costs.values()) * task.examples)
    fitting: list[Way] = [way for way, c in costs.items() if c.per_example * task.examples <= most]
    times: dict[Way, float] = {way: costs[way].time(task) for way in fitting}
    return min(times, key=times.__getitem__)


def _blocked(task: Task, steps: tuple[Step, ...]) -> Plan:
    n2 = task.n1 if task.n2 is None else task.n2
    kept = sum(step.bytes for step in steps) / task.examples
    held = task.itemsize * sum(cost(way, product, task).per_pair for step in steps
                               for way, product in zip(step.ways, step.parameter.products, strict=False))
    limit = task.memory_limit
    recompute = limit is not None and kept * task.examples > limit / 2
    share = float("inf") if limit is None else limit / 4  # for a panel's passes, kept panels, a pair of panels, a block
    panel = max(1, int(min(task.hardware.pass_bytes, share) / max(kept + task.example_bytes, 1)))
    if limit is not None:
        panel = max(1, min(panel, int((share / 2 / task.itemsize / task.entries) ** 0.5)))
    panel = min(panel, task.batch_size or panel)
    fits = max(1, int((min(task.hardware.block_bytes, share) / max(held, 1)) ** 0.5))
    block = min(_block_examples(task, steps), fits)
    whole = Plan(task, steps, min(panel, task.n1), min(panel, n2), even(task.n1, block), even(n2, block), recompute)
    if not recompute:
        together = task.n2 is not None and task.examples <= panel and _has_few_rows(task, steps)
        return replace(whole, kept_panels=task.n1, together=together)  # more panels than there are
    return replace(whole, block1=min(whole.block1, whole.panel1), block2=min(whole.block2, whole.panel2),
                   kept_panels=max(1, int(share / max(kept * whole.panel1, 1))))


def _has_few_rows(task: Task, steps: tuple[Step, ...]) -> bool:
    """Whether some product goes backward with few rows, those of all examples together."""
    positions = [product.positions for step in steps for product in step.parameter.products if not product.top]
    return bool(positions) and task.examples * task.n_outputs * min(positions) <= task.hardware.few_rows


def _block_examples(task: Task, steps: tuple[Step, ...]) -> int:
    """Examples in a block, as far as speed goes."""
    if task.n2 is not None or sum(step.flops for step in steps) < task.hardware.symmetry_flops:
        return max(task.n1, task.n2 or 0)
    rows_per_example = task.n_outputs if task.outputs == "full" else 1
    return max(1, task.hardware.block_rows // rows_per_example)


def even(n: int, block: int) -> int:
    """The smallest block that covers n examples in as many blocks as `block` would."""
    blocks = -(-n // max(1, min(block, n)))
    return -(-n // blocks)

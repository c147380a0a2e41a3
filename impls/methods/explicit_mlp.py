"""The kernel of a fully connected network layer by layer, in closed form: no automatic differentiation, no Jacobian.

A layer computes z = s_W W h + s_b b. With what flows into it, h(x), and its deltas, g(x) = ∂f/∂z, its weight has the
share s_W² (h(x_n)·h(x_m)) (g_a(x_n)·g_b(x_m)) of K[n, m, a, b], and its bias the share s_b² g_a(x_n)·g_b(x_m): the
chain rule, with the scales of Jacot et al. 2018, section 3. **The biases are included.** Conventions are this
project's; nothing is converted.

Time N·L·O·W² for the deltas and N²·L·O²·W for their products, O times less for the diagonal and the trace ("structured
derivatives" in Novak et al. 2022, arXiv 2206.08720, table 1). Memory N·L·O·W for the deltas of all examples, whatever
the `batch_size`: making them anew for each pair of blocks would cost more than the products.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Literal, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from impls.frameworks.torch.blocks import assemble_slices, contract, summed
from impls.frameworks.torch.support import DTYPES, device, precision
from impls.given.user_network import UserNetwork
from impls.methods.options import check_options
from impls.networks.torch import tensor_of
from reference import MLP, Case, Request
from reference.case import Outputs
from reference.networks import bias_scale, weight_scale


class Layer(NamedTuple):
    name: str
    weight: Float[Tensor, "fan_out fan_in"]
    weight_scale: float
    bias: Float[Tensor, " fan_out"] | None
    bias_scale: float

    def __call__(self, a: Float[Tensor, "N fan_in"]) -> Float[Tensor, "N fan_out"]:
        z = self.weight_scale * (a @ self.weight.T)
        return z if self.bias is None else z + self.bias_scale * self.bias


class Flow(NamedTuple):
    """What some examples send through one layer."""

    inflow: Float[Tensor, "N fan_in"]
    delta: Float[Tensor, "N O fan_out"]
    """∂f/∂z, z what the layer computes before its activation."""

    def rows(self, examples: slice) -> Flow:
        return Flow(self.inflow[examples], self.delta[examples])


class Problem(NamedTuple):
    layers: list[Layer]
    activation: str
    x1: Float[Tensor, "N1 D"]
    x2: Float[Tensor, "N2 D"] | None


@dataclass(frozen=True)
class ExplicitMLP:
    name: str = "explicit_mlp"
    framework: Literal["torch"] = "torch"
    kind: Literal["exact"] = "exact"

    def unsupported(self, case: Case, request: Request) -> str | None:
        if isinstance(case.network, UserNetwork):
            return "the closed form needs the layers as data (reference.MLP); the code of a model does not tell them"
        if not isinstance(case.network, MLP):
            return f"the closed form is that of a fully connected network, not of a {type(case.network).__name__}"
        return None

    def prepare(self, case: Case, request: Request) -> Callable[[], Tensor]:
        check_options(self.name, request, {})
        problem = _problem(case, request)
        every = range(len(problem.layers))
        return lambda: _kernel(problem, request, every, weights=True, biases=True)

    def components(self, case: Case, request: Request) -> dict[str, Tensor]:
        """Each parameter's share of the kernel, by the parameter's name; they sum to the kernel and have its shape."""
        return components(case, request)


def components(case: Case, request: Request) -> dict[str, Tensor]:
    """See `ExplicitMLP.components`."""
    problem = _problem(case, request)
    shares: dict[str, Tensor] = {}
    for index, layer in enumerate(problem.layers):
        shares[f"{layer.name}.weight"] = _kernel(problem, request, [index], weights=True, biases=False)
        if layer.bias is not None:
            shares[f"{layer.name}.bias"] = _kernel(problem, request, [index], weights=False, biases=True)
    return shares


def _problem(case: Case, request: Request) -> Problem:
    network = case.network
    assert isinstance(network, MLP)  # `unsupported` has said so
    tensor = partial(tensor_of, dtype=DTYPES[request.dtype], where=device(request.device))
    layers: list[Layer] = []
    for i in range(network.n_layers):
        weight = tensor(case.params[f"dense{i}.weight"])
        bias = tensor(case.params[f"dense{i}.bias"]) if network.bias else None
        scale = weight_scale(network, tuple(weight.shape))
        layers.append(Layer(f"dense{i}", weight, scale, bias, bias_scale(network)))
    x2 = None if case.x2 is None else tensor(case.x2)
    return Problem(layers, network.activation, tensor(case.x1), x2)


def _kernel(problem: Problem, request: Request, indices: Sequence[int], *, weights: bool, biases: bool) -> Tensor:
    """The share of these layers' weights, of their biases, or of both."""
    share = partial(_share, weights=weights, biases=biases)
    with torch.no_grad(), precision(problem.x1.dtype):
        flows1 = _flows(problem, problem.x1)
        flows2 = None if problem.x2 is None else _flows(problem, problem.x2)
        columns = None if flows2 is None else lambda j: [flow.rows(j) for flow in flows2]
        shape = (len(problem.x1), len(problem.x1 if problem.x2 is None else problem.x2))
        return assemble_slices(
            lambda i: [flow.rows(i) for flow in flows1], columns,
            lambda left, right: summed(share(problem.layers[i], left[i], right[i], request.outputs) for i in indices),
            shape, request.batch_size)


def _share(layer: Layer, left: Flow, right: Flow, outputs: Outputs, *, weights: bool, biases: bool) -> Tensor:
    products = contract(left.delta, right.delta, outputs)
    factor = products.new_zeros(len(left.inflow), len(right.inflow))
    if weights:
        factor.addmm_(left.inflow, right.inflow.T, alpha=layer.weight_scale**2)
    if biases and layer.bias is not None:
        factor += layer.bias_scale**2
    return products.mul_(factor.reshape(*factor.shape, *[1] * (products.ndim - 2)))


def _flows(problem: Problem, x: Float[Tensor, "N D"]) -> list[Flow]:
    """Forward for what flows in, then backward for the deltas."""
    activation = ACTIVATIONS[problem.activation]
    inflows, slopes = [x], []
    for layer in problem.layers[:-1]:
        a, slope = activation(layer(inflows[-1]))
        inflows.append(a)
        slopes.append(slope)
    n_outputs = len(problem.layers[-1].weight)
    delta = torch.eye(n_outputs, dtype=x.dtype, device=x.device).expand(1, -1, -1)  # ∂f/∂f, the same for every example
    deltas = [delta.expand(len(x), -1, -1)]
    for layer, slope in zip(reversed(problem.layers[1:]), reversed(slopes), strict=True):
        delta = layer.weight_scale * (delta @ layer.weight) * slope.unsqueeze(1)
        deltas.append(delta)
    return [Flow(a, g) for a, g in zip(inflows, reversed(deltas), strict=True)]


# An activation and its derivative, both written out: φ(z), φ'(z).


def _relu(z: Tensor) -> tuple[Tensor, Tensor]:
    return z.clamp(min=0), (z > 0).to(z.dtype)  # φ'(0) = 0, as autograd has it


def _tanh(z: Tensor) -> tuple[Tensor, Tensor]:
    a = torch.tanh(z)
    return a, 1 - a * a


def _erf(z: Tensor) -> tuple[Tensor, Tensor]:
    return torch.erf(z), 2 / math.sqrt(math.pi) * torch.exp(-z * z)


def _gelu(z: Tensor) -> tuple[Tensor, Tensor]:
    """z Φ(z), with Φ the normal distribution function; the derivative is Φ(z) + z Φ'(z)."""
    cdf = 0.5 * torch.erfc(-z / math.sqrt(2))
    pdf = torch.exp(-z * z / 2) / math.sqrt(2 * math.pi)
    return z * cdf, cdf + z * pdf


def _sin(z: Tensor) -> tuple[Tensor, Tensor]:
    return torch.sin(z), torch.cos(z)


ACTIVATIONS: Mapping[str, Callable[[Tensor], tuple[Tensor, Tensor]]] = {
    "relu": _relu,
    "tanh": _tanh,
    "erf": _erf,
    "gelu": _gelu,
    "sin": _sin,
}

METHODS = (ExplicitMLP(),)

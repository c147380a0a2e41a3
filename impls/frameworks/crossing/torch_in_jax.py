"""A PyTorch function for the JAX methods: torchax runs its operations on JAX arrays.

torchax has a lowering of most ATen operations, kept by the people of PyTorch/XLA; an interpreter of our own over
`torch.export` would need the same few hundred lowerings again. It knows nothing of PyTorch's autograd: what is
detached, or computed under ``torch.no_grad()``, JAX would differentiate. So that is cut here, and each crossing is
checked: outputs and gradients, on two examples, against PyTorch's own.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils import _pytree as torch_pytree

from impls.frameworks.jax.support import Batched
from impls.frameworks.jax.support import precision as jax_precision
from impls.frameworks.torch.cotangents import pulled_back
from impls.frameworks.torch.support import Forward, Params, dtype_of
from reference import tolerance


def crossed(f: Forward, params: Params, x1: Tensor, x2: Tensor | None
            ) -> tuple[Batched, dict[str, jax.Array], jax.Array, jax.Array | None]:
    """f, its parameters and the examples in JAX. Raises `NotImplementedError` where f does not cross, or not right."""
    dtype = str(dtype_of(params)).removeprefix("torch.")
    with jax_precision(dtype):
        in_jax = jax_function(f)
        moved = {name: to_jax(p) for name, p in params.items()}
        examples1, examples2 = to_jax(x1), None if x2 is None else to_jax(x2)
        _check(f, params, x1[[0, -1]], in_jax, moved, examples1[jnp.array([0, -1])], dtype)
    return in_jax, moved, examples1, examples2


def jax_function(f: Forward) -> Batched:
    """The same function of JAX arrays; tensors that f closes over become constants when it is traced."""
    environment = _environment()

    def in_jax(params: Any, x: jax.Array) -> jax.Array:
        ours, examples = environment.j2t_iso((params, x))
        with torch.enable_grad(), environment, _Autograd(environment), _data_cut(environment):
            y = f(ours, examples)
        return environment.t2j_iso(y)

    return in_jax


def to_jax(tensor: Tensor) -> jax.Array:
    """A copy. float64 stays what it is where JAX has it (`impls.frameworks.jax.support.precision`)."""
    return jnp.asarray(tensor.detach().resolve_conj().resolve_neg().cpu().numpy())


def to_torch(array: jax.Array) -> Tensor:
    """A copy, on the CPU."""
    return torch.from_numpy(np.array(array))


def _check(f: Forward, params: Params, x: Tensor, in_jax: Batched, moved: dict[str, jax.Array], some: jax.Array,
           dtype: str) -> None:
    """Outputs of two examples, and the gradients of their sum with random weights, on both sides.

    The weights are no signs: these cancel for what all examples share.
    """
    try:
        y, pull = jax.vjp(lambda params: in_jax(params, some), moved)
    except Exception as error:
        said = str(error).strip().splitlines()
        raise NotImplementedError(f"it does not run on JAX arrays through torchax ({type(error).__name__}: "
                                  f"{said[0] if said else 'no message'})") from error
    weights = np.random.default_rng(0).standard_normal(y.shape).astype(y.dtype)
    leaves = {name: p.detach().requires_grad_() for name, p in params.items()}
    with torch.enable_grad():
        due = f(leaves, x)
    gradients = pulled_back(due, torch.from_numpy(weights), tuple(leaves.values()))
    _hold("its outputs", due, y, dtype)
    pulled = pull(jnp.asarray(weights))[0]
    largest = max(float(each.abs().max()) for each in gradients)
    for name, gradient in zip(leaves, gradients, strict=True):
        _hold(f"the gradient of {name}", gradient, pulled[name], dtype, largest)


def _hold(what: str, due: Tensor, got: jax.Array, dtype: str, largest: float = 0.0) -> None:
    """Half of the digits: a crossing that loses an operation or its derivative loses all. `largest`: the sums within
    are as large, so that zero (as of a bias that a normalisation takes away) is what their rounding leaves."""
    expected, found = due.detach().cpu().numpy().astype(np.float64), np.asarray(got, np.float64)
    if expected.shape != found.shape:
        raise NotImplementedError(f"through torchax {what} have the shape {found.shape} instead of {expected.shape}")
    scale = max(float(np.abs(expected).max(initial=0.0)), float(np.abs(found).max(initial=0.0)))
    error = float(np.abs(expected - found).max(initial=0.0))
    within = tolerance(dtype, "exact")  # pyright: ignore[reportArgumentType]
    if not error <= within**0.5 * scale + within * largest:
        raise NotImplementedError(f"through torchax {what} differ from PyTorch's by {error:.1e}, of {scale:.1e}")


class _Autograd(TorchFunctionMode):
    """What PyTorch's autograd does not pass, JAX's must not: what is computed without gradients, and what is detached.

    And plain tensors that meet JAX's (buffers, frozen parameters, tables) become constants, each once.
    """

    def __init__(self, environment: Any) -> None:
        super().__init__()
        self.environment = environment
        self.known: dict[int, tuple[Tensor, Any]] = {}

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if any(self._is_jax(leaf) for leaf in torch_pytree.tree_leaves((args, kwargs))):
            args, kwargs = torch_pytree.tree_map_only(Tensor, self._constant, (args, kwargs))
        answer = func(*args, **kwargs)
        if not torch.is_grad_enabled() or func in DETACHING:
            return torch_pytree.tree_map_only(Tensor, self._cut, answer)
        return answer

    def _is_jax(self, leaf: Any) -> bool:
        return isinstance(leaf, _tensor_types())

    def _constant(self, tensor: Tensor) -> Any:
        if self._is_jax(tensor):
            return tensor
        if id(tensor) not in self.known:
            self.known[id(tensor)] = (tensor, self.environment.j2t_iso(to_jax(tensor)))
        return self.known[id(tensor)][1]

    def _cut(self, tensor: Tensor) -> Any:
        if not self._is_jax(tensor):
            return tensor
        return self.environment.j2t_iso(jax.lax.stop_gradient(self.environment.t2j_iso(tensor)))


DETACHING = (Tensor.detach, torch.detach)

@contextmanager
def _data_cut(environment: Any) -> Iterator[None]:
    """``tensor.data`` is an attribute of torchax's own classes, which no mode of PyTorch's sees."""
    before = {cls: cls.__dict__.get("data") for cls in _tensor_types()}

    def data(tensor: Any) -> Any:
        return environment.j2t_iso(jax.lax.stop_gradient(environment.t2j_iso(tensor)))

    try:
        for cls in before:
            cls.data = property(data)
        yield
    finally:
        for cls, own in before.items():
            if own is None:
                del cls.data
            else:
                cls.data = own


@cache
def _tensor_types() -> tuple[type, ...]:
    from torchax import tensor

    return tensor.Tensor, tensor.View


@cache
def _environment() -> Any:
    """torchax's table of lowerings. Importing it renames PyTorch's spare back end to "jax", which cannot be undone; its
    other changes are."""
    with _put_back():
        from torchax import device_module
        from torchax.tensor import Environment
    # It tells PyTorch of an accelerator, whose random generator `torch.random.fork_rng` then asks for in vain.
    device_module.is_available, device_module.device_count = lambda: False, lambda: 0
    return Environment()


@contextmanager
def _put_back() -> Iterator[None]:
    fast_path, environment = torch.backends.mha.get_fastpath_enabled(), dict(os.environ)
    try:
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(fast_path)
        for name in set(os.environ) - set(environment):
            del os.environ[name]

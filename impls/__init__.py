"""Every method that claims to compute the kernel, behind one signature.

`names()` and `load(name)` are the registry; `ntk(...)` computes the kernel of a network of your own, `ntk_fn(...)`
gives it as a function for other programs, and `ntk_operator(...)` as a matrix that multiplies and is never formed;
`nngp(...)` and `conjugate(...)` are other kernels of it. Importing this package imports no framework: a method's module
is imported when the method is loaded.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from impls.given.selection import Where
from impls.protocol import Array, Method, MethodNotInstalled, RegistryError
from impls.registry import framework, load, load_object, names, unsupported
from reference.case import InputError, Outputs

if TYPE_CHECKING:
    from impls.own.nngp import Average
    from impls.own.ntk_fn import KernelFunction
    from impls.own.operator import NTKOperator

__all__ = [
    "Array", "Method", "MethodNotInstalled", "RegistryError",
    "conjugate", "framework", "load", "load_object", "names", "nngp", "ntk", "ntk_fn",
    "ntk_operator", "unsupported",
]


def ntk(model: Any, x1: Array | Iterable[Any], x2: Array | Iterable[Any] | None = None, *, params: Any = None,
        outputs: Outputs = "full", method: str = "auto", batch_size: int | None = None,
        memory_limit: int | None = None, components: bool = False, explain: bool = False, verbose: bool = False,
        seed: int = 0, check: bool = True, expect_calls: int = 1, inputs: Any = None, select: Any = None,
        where: Where = None, params2: Any = None, model2: Any = None, pairs: Literal["same"] | None = None,
        out: str | Path | None = None, tile: int | tuple[int, int] | None = None, devices: Any = None,
        progress: bool = False, **options: Any) -> Any:
    """The neural tangent kernel K[n, m, a, b] = Σ_p ∂f_a(x1_n)/∂θ_p · ∂f_b(x2_m)/∂θ_p of `model`.

    `model` is

    - a `torch.nn.Module` that takes a batch. Its parameters are those with ``requires_grad``, tied ones counted once.
      It is evaluated in evaluation mode, and left as it is;
    - an Equinox module that takes one example; one with state as a pair ``(model, state)``, as
      `eqx.nn.make_with_state` gives them. Its parameters are its floating-point and complex JAX arrays but those of
      states, those tied by `eqx.nn.Shared` counted once. It is evaluated in inference mode. To freeze some, give the
      trainable part as `params`, from ``params, _ = eqx.partition(model, filter_spec)``;
    - a Flax NNX module, whose parameters are its `nnx.Param`, or a Flax Linen module with its variables as `params`, of
      which the collection "params" is differentiated. Both take a batch, and are evaluated in evaluation mode;
    - a function ``f(params, x)`` of a batch, with `params`: a dict from names to tensors, or a pytree of arrays of JAX
      or NumPy, of which, as for `jax.grad`, all floating-point ones and Python floats are parameters, and complex ones;
      all else in it is constant. Compiled once for what the function's code reads, if that is numbers, small arrays and
      functions; else, define it once, outside of loops, as for `jax.jit`.

    x1 (N1, …) and x2 (N2, …) are finite arrays of the framework, on one device with the parameters, or of NumPy. A
    model of several inputs takes a structure of arrays with one row for each example: a tuple (arguments by place), a
    dict (by name where the model takes these names, else as one argument), a dataclass or object. Or they are batches
    of either that can be read several times, in the same order: a list, or a `torch.utils.data.DataLoader`; their
    examples may differ in shape. Of a pair (x, y) x is taken where the model has one input; `inputs` says which items
    else: a key or place, several of them, or a function of the batch. The structured engines never hold all batches of
    single arrays at once. Numbers are taken in the dtype of the parameters; integers, for a model that embeds tokens,
    stay as they are. None for x2 means x2 = x1. The examples must not influence each other; outputs of more than one
    axis are flattened in C order to O. Of a model that returns a dict, a tuple or an object, `select` names the output:
    a key or attribute, a place, or a function of what is returned.

    `where` leaves some parameters: a pattern of names ("*.lora_*"), several, or a predicate (name, value). Parameters
    of several dtypes are computed in the widest, those of 16 bits in float32, with a warning. Complex parameters and
    outputs are pairs of real ones (reference/DEFINITION.md).

    With `params2` (as `params`; for a module another one or a state_dict) or `model2` (of the parameters of the same
    names, or objects), the second Jacobian is of these: J(x1; θ1) J2(x2; θ2)ᵀ, and nothing is symmetric.
    ``pairs="same"`` gives K[n, n] alone, between x1[n] and x2[n]: (N, O, O), (N, O) or (N,). These, and examples of
    unlike shapes, are made from Jacobians in blocks.

    The answer is the framework's own array in the parameters' dtype, on their device: (N1, N2, O, O) for `outputs`
    "full"; (N1, N2, O), the entries a = b, for "diagonal"; (N1, N2), their sum, for "trace". With ``components=True``
    it is a dict with such a kernel for each parameter, which sum to the kernel: by PyTorch's names, or by the place in
    the pytree, "layers.0.weight".

    `method` is a name of `impls.names()` that works on any function of the framework; `seed` and `options` go to it, as
    in ``method="equinox.monte_carlo", proj_dim=4096``. "auto" takes the exact method with the least predicted time
    among those that fit into memory (`impls.choice.auto`). On the CPU the whole call counts, and where tracing and
    compiling the engine alone would take longer than another method does, it is not done (`impls.choice.halves`); with
    `expect_calls` above 1, and elsewhere, the time is that of the steady state, without tracing and compilation.
    With `expect_calls` above 1 it measures the machine, the first time, for about a second, and keeps the figures in
    the user's cache (`impls.choice.calibration`); a single call takes what is kept, or what is typical.
    ``verbose=True`` prints every method's predicted time and memory, and the choice; ``explain=True`` what the
    structured engine does, or would do, for each parameter, with its operations and bytes.

    `memory_limit` is in bytes beyond the kernel itself; without it, "auto" takes what is free, and methods that hold
    Jacobians at most 1 GiB of them. `batch_size` (examples) blocks x1 and x2 and does not change the values.

    The structured engines check themselves: uᵀ K[i, j] v of two examples and two random directions against backward
    passes of `model` itself. A kernel that is wrong is computed anew from Jacobians, with a warning that names the
    parameters; ``verbose=True`` tells the time that it took, ``check=False`` leaves it out.

    ``out="K.zarr"`` computes the kernel tile by tile into a folder, a zarr 3 array, and the answer is
    `impls.tiles.lazy.LazyKernel`: an array of which only what is asked for is read, as `impls.tiles.open_kernel` gives
    it later. Stopped or killed, the same call goes on where it was; with more examples at the end of x1 or x2 it adds
    theirs; for another network, other examples or versions it is refused. `memory_limit` (1 GiB unless given) then
    bounds all that is held beside a batch, whatever N: x1 and x2 are read as far as a tile needs them where they are
    memory-mapped (``numpy.load("X.npy", mmap_mode="r")``), arrays of zarr or h5py, lists or DataLoaders of arrays;
    several inputs, and batches that can only be read from end to end, are held. "auto" is the structured engine.
    `tile`: examples of a tile, or two numbers, of x1 and of x2; ``progress=True`` shows a bar with the time left.
    `devices`: to how many devices the tiles are dealt, or a list of them: JAX's, or PyTorch's, which have a process
    each (of the CPU as many as are asked for); the numbers are those of one device.

    Raises `InputError` for input that cannot be used or does not fit and for a kernel that is not finite (where NaN or
    infinity first appears), `RegistryError` for an unknown method, and
    `MethodNotInstalled`, with the remedy, for one whose package is missing.
    """
    if out is not None:
        from impls.tiles.ntk import ntk as compute_on_disk

        without = {"components": components, "explain": explain, "params2": params2, "model2": model2, "pairs": pairs}
        return compute_on_disk(
            model, x1, x2, out=out, tile=tile, devices=devices, progress=progress, params=params, outputs=outputs,
            method=method, batch_size=batch_size, memory_limit=memory_limit, verbose=verbose, seed=seed, check=check,
            inputs=inputs, select=select, where=where, without=without, options=options)
    if tile is not None or devices is not None or progress:
        raise InputError("tile=, devices= and progress= are for a kernel that is computed into a folder: give "
                         "out='K.zarr'")
    from impls.own.ntk import ntk as compute

    return compute(model, x1, x2, params=params, outputs=outputs, method=method, batch_size=batch_size,
                   memory_limit=memory_limit, components=components, explain=explain, verbose=verbose, seed=seed,
                   check=check, expect_calls=expect_calls, inputs=inputs, select=select, where=where,
                   params2=params2, model2=model2, pairs=pairs, **options)


def ntk_fn(model: Any, *, params: Any = None, outputs: Outputs = "full", method: str = "auto") -> KernelFunction:
    """The neural tangent kernel as a function ``kernel(params, x1, x2=None)``, for use inside other programs.

    `model` and `outputs` are those of `ntk`. With JAX the function can be jitted, mapped and differentiated, with
    respect to the parameters and the examples and any number of times; with PyTorch, by autograd and by `torch.func`:

        kernel = ntk_fn(f, outputs="trace")
        loss = lambda params, x1, x2: kernel(params, x1, x2).sum()
        jax.jit(jax.grad(loss))(params, x1, x2)

    `params` of the function: for ``f(params, x)`` what f takes, of which all floating-point arrays are parameters (of a
    complex one both parts) and others are constants; for a `torch.nn.Module` a dict from the names of its trainable
    parameters to tensors; for an Equinox module its trainable part. ``kernel.params`` holds those that the model has.
    Where it is an Equinox module, `params` here says which part is trainable, as in `ntk`. x2=None means x2 = x1.

    `method`: with JAX "structured_jax" (by default: rules for each parameter, no whole Jacobians) or "equinox.exact"
    (Jacobians); with PyTorch "torch_func.jacobian_contraction" (by default) or "torch_autograd.per_example" (a loop,
    for networks that `torch.func` cannot map; autograd alone).

    All examples pass at once, and of the values nothing is checked: use `ntk` first, which looks for examples that
    influence each other and numbers that are not finite. Called by itself in JAX it is compiled as
    `impls.frameworks.jax.xla` says; give your own jax.jit ``compiler_options=impls.frameworks.jax.xla.options()`` for
    the same, without which XLA may compute wrong float32 numbers on the CPU.

    Raises `InputError` for what cannot be used.
    """
    from impls.own.ntk_fn import ntk_fn as make

    return make(model, params=params, outputs=outputs, method=method)


def ntk_operator(model: Any, x1: Array | Iterable[Any], x2: Array | Iterable[Any] | None = None, *, params: Any = None,
                 outputs: Outputs = "full", batch_size: int | None = None, memory_limit: int | None = None,
                 verbose: bool = False, inputs: Any = None, select: Any = None, where: Where = None) -> NTKOperator:
    """The neural tangent kernel as a matrix that multiplies vectors and is never formed: K v = J1 (J2ᵀ v).

    `model`, `x1`, `x2`, `params`, `inputs`, `select` and `where` are those of `ntk`, with the same refusals; all
    examples are held in memory. A `scipy.sparse.linalg.LinearOperator` of shape (N1·O, N2·O), rows and columns in the
    order (n, a), in the dtype of the parameters, for `eigsh`, `cg` and whatever else takes one:

        K = ntk_operator(model, x)
        values, vectors = scipy.sparse.linalg.eigsh(K, k=10)
        weights, _ = scipy.sparse.linalg.cg(K + noise * aslinearoperator(eye_array(len(y))), y)

    ``K @ v`` and ``K @ V`` (k vectors at once), ``K.T``, ``v @ K``; arrays of NumPy give arrays of NumPy, the
    framework's own give its own, on the parameters' device; JAX's may be traced, as in `jax.scipy.sparse.linalg.cg`.
    ``K.diagonal()``, ``K.trace()``, ``K.rows(places)`` and ``K.columns(places)`` are exact as well.

    A product is one backward pass and one pass in forward mode through all examples, in blocks: time N·FP for each
    vector, memory 3·P numbers for its gradients, and the passes of a block. `outputs` "trace" is the kernel (N1, N2)
    that sums over outputs: O times the work. For "diagonal", which is O matrices, `select` one output.

    `memory_limit` is in bytes beyond parameters, examples and vectors (by default 1 GiB, or what is free), from which
    follow the blocks and how many vectors pass at once; `batch_size` (examples) names the block. Neither changes the
    values. When it is made, products of two examples are held against backward passes of the model itself; where
    forward mode or `vmap` is wrong or missing, slower ways are taken. ``verbose=True`` tells which.

    Raises `InputError` as `ntk` does, for vectors that are not finite or do not fit, and for products that are not
    finite; `MethodNotInstalled` without SciPy.
    """
    from impls.own.operator import ntk_operator as make

    return make(model, x1, x2, params=params, outputs=outputs, batch_size=batch_size, memory_limit=memory_limit,
                verbose=verbose, inputs=inputs, select=select, where=where)


def nngp(factory: Callable[..., Any], x1: Array, x2: Array | None = None, *, n_samples: int = 1024, seed: int = 0,
         outputs: Outputs = "full", batch_size: int | None = None) -> Average:
    """The NNGP kernel K[n, m, a, b] = E f_a(x1_n) f_b(x2_m) over initialisations of a network as wide as it is.

    `factory` makes a freshly initialised network: of a key, an Equinox module (of one example, or a pair with its
    state) or a Flax NNX module (of a batch); or of nothing, a `torch.nn.Module` (of a batch), drawn from PyTorch's
    global generator, which is seeded for the time and put back as it was:

        nngp(lambda key: eqx.nn.MLP(2, 1, 64, 2, key=key), x1)
        nngp(lambda key: Net(rngs=nnx.Rngs(key)), x1)
        nngp(lambda: nn.Sequential(nn.Linear(2, 64), nn.ReLU(), nn.Linear(64, 1)), x1)

    JAX traces the factory once. The answer is ``(kernel, standard_error)``, arrays of the framework, from `n_samples`
    networks: (N1, N2, O, O) for `outputs` "full"; (N1, N2, O), the entries a = b, for "diagonal"; (N1, N2), their
    **sum**, for "trace". The estimate is unbiased, nothing is centred, and `seed` decides it; `batch_size` (examples)
    does not. The limit of infinite width is another kernel, which `load("neural_tangents.infinite")` has for the
    described networks.

    Raises `InputError` for input that cannot be used, for a factory that makes the same network again, and for outputs
    that are not finite. Source: reference/DEFINITION.md; Lee et al. 2018 (arXiv 1711.00165).
    """
    from impls.own.nngp import nngp as compute

    return compute(factory, x1, x2, n_samples=n_samples, seed=seed, outputs=outputs, batch_size=batch_size)


def conjugate(model: Any, x1: Array, x2: Array | None = None, *, layer: str, batch_size: int | None = None) -> Array:
    """The conjugate kernel K[n, m] = φ(x1_n) · φ(x2_m) / h of a layer's features, flattened to h numbers: (N1, N2).

    `model` is a `torch.nn.Module`, an Equinox module or a Flax NNX module, evaluated in evaluation mode and left as it
    is. `layer` is the path of a submodule, or in JAX of a function that is an attribute: "features.0" or "layers.2" for
    what it gives, "head:input" for what it takes (of the last layer, the last hidden features), "cell#2" for its second
    use. `batch_size` (examples) does not change the values.

    Raises `InputError` for input that cannot be used, and for a layer that is not there, with the nearest that is.
    Source: reference/DEFINITION.md; Fan, Wang 2020 (arXiv 2005.11879).
    """
    from impls.own.conjugate import conjugate as compute

    return compute(model, x1, x2, layer=layer, batch_size=batch_size)

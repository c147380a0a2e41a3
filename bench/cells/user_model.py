"""A model of the user's own as a case: ``--model FILE.py:FUNCTION``."""

from __future__ import annotations

import random
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from bench.cells.cases import NetworkOnInputs, contents_of, digest_of
from bench.cells.data import Inputs, digits
from impls import RegistryError
from impls.given.user_network import UserNetwork
from impls.own.recognise import as_network
from impls.registry import did_you_mean, import_file
from reference import MLP, Case, ConvNet, InputError


@dataclass(frozen=True, eq=False)
class UserModel:
    """What the function `function` in the file `path` returns, on `inputs`, or on those of the `Case` that it returns.

    The function is called anew in each process, after the seeds of Python, NumPy and PyTorch are set: weights that are
    drawn from these are the same each time. JAX draws from keys, which the function makes itself.
    """

    path: Path
    function: str
    inputs: Inputs | None = None
    n: int | None = None
    """How many examples of the function's own `Case`; None means all."""

    @property
    def network(self) -> str:
        return f"{self.path.name}:{self.function}"

    @property
    def name(self) -> str:
        n = self.n if self.inputs is None else len(self.inputs.x1)
        return f"{self.path.stem}.{self.function}" + ("" if n is None else f"-n{n}")

    @property
    def data(self) -> str:
        return "random" if self.inputs is None else self.inputs.name

    @property
    def digest(self) -> str:
        return digest_of(self.path.read_bytes(), self.function, str(self.n), *contents_of(self.inputs))

    def build(self) -> Case:
        made = self._call()
        if isinstance(made, Case):
            return self._own_case(made)
        if isinstance(made, MLP | ConvNet):
            inputs = self._fitting_digits(made) if self.inputs is None else self.inputs
            if isinstance(made, MLP):
                inputs = inputs.flattened()
            return NetworkOnInputs(self.name, made, inputs).build()
        network = as_network(made)
        if network is None:
            raise InputError(f"{self.network} returned a {type(made).__name__}; it must return a torch.nn.Module, an "
                             "Equinox module, a pair (f, params), a Case, or an MLP or ConvNet of reference")
        if self.inputs is None:
            raise InputError(f"{self.network} returned a model, which needs inputs: give --input X.npy")
        return Case(self.name, network, {}, self.inputs.x1, self.inputs.x2)

    def _call(self) -> Any:
        _set_seeds()
        function = self._function()
        _set_seeds()
        try:
            return function()
        except Exception as error:
            raise InputError(f"{self.network} raised {type(error).__name__}: {error}") from error

    def _function(self) -> Callable[[], Any]:
        try:
            module = import_file(self.path)
        except Exception as error:
            raise InputError(f"{self.path.name} raised {type(error).__name__}: {error}") from error
        if not hasattr(module, self.function):
            known = [name for name, value in vars(module).items() if callable(value) and not name.startswith("_")]
            raise InputError(f"{self.path.name} has no {self.function!r}{did_you_mean(self.function, known)}")
        function = getattr(module, self.function)
        if not callable(function) or as_network(function) is not None:
            raise InputError(f"{self.network} is a {type(function).__name__}; name a function without arguments that "
                             "returns the model")
        return function

    def _own_case(self, case: Case) -> Case:
        if self.inputs is not None:
            raise InputError(f"{self.network} returned a Case, which has inputs of its own: leave --input away")
        if self.n is not None and self.n > len(case.x1):
            raise InputError(f"--batch {self.n}: the Case that {self.network} returned has {len(case.x1)} examples")
        return replace(case, name=self.name, x1=case.x1[: self.n], x2=None if case.x2 is None else case.x2[: self.n])

    def _fitting_digits(self, network: MLP | ConvNet) -> Inputs:
        if network.input_shape not in ((64,), (1, 8, 8)):
            raise InputError(f"{self.network} takes inputs of shape {network.input_shape}, the digits have (1, 8, 8): "
                             "give --input X.npy")
        found = digits()
        if self.n is not None and self.n > len(found.x1):
            raise InputError(f"--batch {self.n}: there are {len(found.x1)} digits")
        return found.first(self.n or 32)


@contextmanager
def users_code(case: Case) -> Iterator[None]:
    """What a user's own model raises is `InputError`; what goes wrong with a network of ours is passed on."""
    try:
        yield
    except (InputError, RegistryError):
        raise
    except Exception as error:
        if not isinstance(case.network, UserNetwork):
            raise
        raise InputError(f"{case.name} fails on inputs of shape {case.x1.shape}: {type(error).__name__}: "
                         f"{error}{_about_integers(case.x1)}") from error


def _about_integers(x: np.ndarray) -> str:
    if x.dtype.kind == "f":
        return ""
    return f"; the inputs are integers ({x.dtype}): unless the model embeds tokens, convert them, x.astype('float32')"


def parse_model(spec: str) -> tuple[Path, str]:
    """(file, function) of ``FILE.py:FUNCTION``; `InputError` where it is not of that form or there is no file."""
    path, colon, function = spec.rpartition(":")
    if not colon or not path.endswith(".py") or not function:
        raise InputError(f"--model takes FILE.py:FUNCTION, got {spec!r}")
    found = Path(path).expanduser().resolve()
    if not found.is_file():
        raise InputError(f"--model {spec!r}: there is no file {path!r}")
    return found, function


def _set_seeds() -> None:
    random.seed(0)
    np.random.seed(0)  # noqa: NPY002  a user's model may draw from it
    if "torch" in sys.modules:
        sys.modules["torch"].manual_seed(0)

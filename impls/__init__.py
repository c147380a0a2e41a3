"""Every method that claims to compute the kernel, behind one signature.

`names()` and `load(name)` are the registry; `ntk(...)` computes the kernel of a network of your own. Importing this
package imports no framework: a method's module is imported when the method is loaded.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from impls.protocol import Array, Method, MethodNotInstalled, RegistryError
from impls.registry import framework, load, load_object, names, unsupported
from reference.case import Outputs

__all__ = [
    "Array", "Method", "MethodNotInstalled", "RegistryError",
    "framework", "load", "load_object", "names", "ntk", "unsupported",
]


def ntk(model: Any, x1: Array | Iterable[Any], x2: Array | Iterable[Any] | None = None, *, params: Any = None,
        outputs: Outputs = "full", method: str = "auto", batch_size: int | None = None,
        memory_limit: int | None = None, components: bool = False, explain: bool = False, verbose: bool = False,
        seed: int = 0, **options: Any) -> Any:
    """See `impls.public.ntk`, which this calls: it stands apart so that importing `impls` stays quick."""
    from impls.public import ntk as compute

    return compute(model, x1, x2, params=params, outputs=outputs, method=method, batch_size=batch_size,
                   memory_limit=memory_limit, components=components, explain=explain, verbose=verbose, seed=seed,
                   **options)

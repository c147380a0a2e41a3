"""The runtime check of array shapes, for whoever runs the tests."""

from __future__ import annotations

from pathlib import Path

try:
    from beartype import beartype
except ModuleNotFoundError as error:
    raise ImportError('the tests and the gate need what the extra "test" brings: '
                      'pip install -c constraints.txt ".[all]"') from error
from jaxtyping import install_import_hook, jaxtyped

_ROOT = Path(__file__).parents[1]


def check_shapes() -> None:
    """Have the shapes in signatures checked at every call, of modules that are imported from now on."""
    # Python does not find the compiled files of what a hooked module imports, and compiles it anew: so what every
    # process needs is imported before, the checker, and JAX where it is there, which jaxtyping asks for its tracebacks.
    jaxtyped(typechecker=beartype)(_nothing)
    install_import_hook(modules_with_shapes(), "beartype.beartype")


def modules_with_shapes() -> list[str]:
    """Those whose signatures name shapes; the hook makes each function of a module ten times dearer to call."""
    files = (path for package in ("reference", "impls") for path in sorted((_ROOT / package).rglob("*.py")))
    return [".".join(path.relative_to(_ROOT).with_suffix("").parts) for path in files
            if "jaxtyping" in path.read_text(encoding="utf-8")]


def _nothing() -> None:
    pass

"""timm imports names of torchvision that its networks do not use; a torchvision fits one build of PyTorch alone.

With `names_of_torchvision()` these names exist, and any use of one is an error. Where torchvision is installed, nothing
is done.
"""

from __future__ import annotations

import importlib.machinery
import importlib.util
import sys
from types import ModuleType

NAMES = ("transforms", "transforms.functional", "ops", "ops.misc", "datasets", "models", "models.feature_extraction")


class _Missing:
    """Stands where a class or function of torchvision would."""

    def __init__(self, *_: object, **__: object) -> None:
        raise ImportError("torchvision is not installed; the suite's networks do not need it")


class _StandIn(ModuleType):
    def __getattr__(self, name: str) -> type:
        if name.startswith("__"):
            raise AttributeError(name)
        return type(
            name,
            (_Missing,),
            {
                "__module__": self.__name__,
                "BILINEAR": 2,
                "BICUBIC": 3,
                "NEAREST": 0,
                "LANCZOS": 1,
                "HAMMING": 5,
                "BOX": 4,
            },
        )


def names_of_torchvision() -> None:
    """Make ``import torchvision`` work in this process, for the names alone."""
    if importlib.util.find_spec("torchvision") is not None:
        return
    for name in ("torchvision", *(f"torchvision.{part}" for part in NAMES)):
        module = _StandIn(name)
        module.__path__ = []
        module.__spec__ = importlib.machinery.ModuleSpec(name, None, is_package=True)
        sys.modules[name] = module
        parent, _, child = name.rpartition(".")
        if parent:
            setattr(sys.modules[parent], child, module)

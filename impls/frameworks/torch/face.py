"""PyTorch's face (`impls.frameworks.face`)."""

from __future__ import annotations

from typing import Any

import torch

from impls.frameworks.face import Memory
from impls.frameworks.torch import support
from impls.frameworks.torch.support import Params, precision

__all__ = ["device_memory", "free_device_memory", "named", "precision", "set_threads", "state", "threads", "wake"]


def wake(device: str) -> None:
    torch.zeros(1, device=support.device(device))


def device_memory() -> Memory | None:
    free, total = torch.cuda.mem_get_info()
    return Memory(torch.cuda.memory_allocated(), torch.cuda.max_memory_allocated(), total - free)


def free_device_memory() -> int | None:
    reserved = torch.cuda.memory_reserved() - torch.cuda.memory_allocated()  # its own allocator's, to be used again
    return torch.cuda.mem_get_info()[0] + reserved


def threads() -> int:
    return torch.get_num_threads()


def set_threads(threads: int) -> None:
    torch.set_num_threads(threads)


def state() -> dict[str, Any]:
    return {"PyTorch's default dtype": torch.get_default_dtype(), "PyTorch's default device": torch.empty(0).device,
            "PyTorch's grad mode": torch.is_grad_enabled(), "the number of PyTorch's threads": torch.get_num_threads(),
            "whether PyTorch is deterministic": torch.are_deterministic_algorithms_enabled(),
            "PyTorch's precision of products": torch.get_float32_matmul_precision(),
            "the state of PyTorch's random numbers": torch.get_rng_state().numpy().tobytes()}


def named(params: Params) -> list[tuple[str, torch.Tensor]]:
    return list(params.items())

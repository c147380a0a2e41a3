"""How many parameters a case has."""

from __future__ import annotations

import math

from impls.given.user_network import UserNetwork
from reference import Case, Request


def count_params(case: Case) -> int:
    """P, the number of trainable parameters; those of a user's network are counted by its own framework."""
    network = case.network
    if not isinstance(network, UserNetwork):
        return sum(math.prod(shape) for shape in network.param_shapes().values())
    if network.framework == "torch":
        from impls.networks import torch_case

        return sum(param.numel() for param in torch_case.functional(case, Request()).params.values())
    import jax

    from impls.networks import jax_case

    return sum(leaf.size for leaf in jax.tree.leaves(jax_case.functional(case, Request()).params))

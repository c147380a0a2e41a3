"""A method's own options: known names with their defaults; anything else is an error."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from impls.registry import check_quantity, did_you_mean
from reference import InputError, Quantity, Request

DISTRIBUTIONS = ("gaussian", "rademacher")
"""Of the entries of a random projection."""

STRUCTURED = {"memory_limit": None, "explain": False}
"""Of the structured engines: bytes beyond the kernel itself (None: no limit), and whether to print the plan."""

MEMORY_OF_BATCHES = 2**30
"""Bytes beyond the kernel for examples that come in batches, unless `memory_limit` says another number."""


def check_options(method: str, request: Request, known: Mapping[str, Any],
                  quantities: tuple[Quantity, ...] = ("ntk",)) -> dict[str, Any]:
    """The request's options over the defaults in `known`; raises `InputError` for a name that is not known, and for a
    kernel that is not among those that the method computes."""
    check_quantity(method, quantities, request)
    for name in request.options:
        if name not in known:
            hint = did_you_mean(name, known) if known else "; it takes no options"
            raise InputError(f"{method} has no option {name!r}{hint}")
    return {**known, **request.options}


def limited(request: Request) -> Request:
    """With a limit for the memory of batches, where none is given."""
    limit = request.options.get("memory_limit") or MEMORY_OF_BATCHES
    return replace(request, options={**request.options, "memory_limit": limit})


def projection_options(method: str, request: Request) -> tuple[int, str]:
    """`proj_dim` and `distribution` of a method of random projections, checked; raises `InputError`."""
    given = check_options(method, request, {"proj_dim": 1024, "distribution": "gaussian"})
    proj_dim, distribution = given["proj_dim"], given["distribution"]
    if not isinstance(proj_dim, int) or isinstance(proj_dim, bool) or proj_dim < 1:
        raise InputError(f"proj_dim must be a positive integer, got {proj_dim!r}")
    if distribution not in DISTRIBUTIONS:
        raise InputError(f"distribution={distribution!r} is not one of {', '.join(DISTRIBUTIONS)}"
                         f"{did_you_mean(str(distribution), DISTRIBUTIONS)}")
    return proj_dim, distribution


def sample_options(method: str, request: Request) -> int:
    """`n_samples`, the draws of an average over initialisations, checked; raises `InputError`."""
    return checked_samples(check_options(method, request, {"n_samples": 1024}, ("nngp",))["n_samples"])


def checked_samples(n_samples: Any) -> int:
    """Two at least, without which there is no standard error."""
    if not isinstance(n_samples, int) or isinstance(n_samples, bool) or n_samples < 2:
        raise InputError(f"n_samples must be an integer of at least 2, got {n_samples!r}")
    return n_samples

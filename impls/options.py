"""A method's own options: known names with their defaults; anything else is an error."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from impls.registry import did_you_mean
from reference import InputError, Request


def check_options(method: str, request: Request, known: Mapping[str, Any]) -> dict[str, Any]:
    """The request's options over the defaults in `known`; raises `InputError` for a name that is not known."""
    for name in request.options:
        if name not in known:
            hint = did_you_mean(name, known) if known else "; it takes no options"
            raise InputError(f"{method} has no option {name!r}{hint}")
    return {**known, **request.options}

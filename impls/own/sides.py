"""The two sides of a kernel that is no plain J Jᵀ: `params2=`, `model2=`, `pairs=`, and examples of unlike shapes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from impls.given.asked import Asked
from impls.given.items import ONE, Takes, takes
from impls.given.network import OwnNetwork
from impls.given.user_network import UserNetwork
from impls.own import across
from impls.own.across import Pairs, Side
from impls.own.halves import half
from reference import InputError, Request
from reference.case import Outputs


class Second(NamedTuple):
    """What is different on the second side: `model2` and `params2` of `impls.ntk`, and `pairs`."""

    model: Any = None
    params: Any = None
    pairs: Pairs = None

    @property
    def differs(self) -> bool:
        return self.model is not None or self.params is not None


Build = Callable[[UserNetwork, Any, Any, Asked], OwnNetwork]


def kernel(first: UserNetwork, x1: Any, x2: Any, second: Second, asked: Asked, build: Build,
           as_network: Callable[[Any, Any], UserNetwork], *, outputs: Outputs, method: str, batch_size: int | None,
           memory_limit: int | None, components: bool, seed: int, options: Mapping[str, Any]) -> Any:
    """The kernel by `impls.own.across`, or None where a method for one network and x of one shape is enough."""
    parts1, parts2 = (_unlike(first, x, what, asked) for x, what in ((x1, "x1"), (x2, "x2")))
    if parts1 is None and parts2 is None and not second.differs and second.pairs is None:
        return None
    if options:
        raise InputError(f"this kernel is made from Jacobians, which take no options, got {', '.join(options)}")
    left = _side(first, x1, parts1, "x1", asked, build)
    right = None
    if second.differs or x2 is not None:
        other = _second(first, second, as_network)
        names = other[1]
        x, parts, what = (x1, parts1, "x1") if x2 is None else (x2, parts2, "x2")
        right = _side(other[0], x, parts, what, asked._replace(params2=other[2]), build)
        left = Side(left.parts, names)
    own = left.parts[0]
    request = Request(outputs, own.dtype, own.device, seed, batch_size)
    return across.kernel(left, right, request, method=method, pairs=second.pairs, components=components,
                         memory_limit=memory_limit)


def _side(network: UserNetwork, x: Any, parts: list[Any] | None, what: str, asked: Asked, build: Build) -> Side:
    if parts is None:
        own = build(network, x, None, asked)
        return Side([half(own.framework).whole(own)], {})
    asked = asked._replace(inputs=None)  # they are chosen already
    return Side([build(network, part, None, asked) for part in parts], {})


def _unlike(network: UserNetwork, x: Any, what: str, asked: Asked) -> list[Any] | None:
    return None if x is None else across.of_one_shape(x, what, takes_of(network), asked.inputs)


def takes_of(network: UserNetwork) -> Takes:
    """What the network takes beside its parameters; f(params, x) one input."""
    return takes(network.model.forward) if hasattr(network.model, "forward") else ONE


def _second(first: UserNetwork, second: Second, as_network: Callable[[Any, Any], UserNetwork]
            ) -> tuple[UserNetwork, dict[str, str], Any]:
    """The second network, what its parameters are called where the first one has other names, and values for them."""
    model, params = second.model, second.params
    if not second.differs:
        return first, {}, None
    is_module = first.framework == "torch" and hasattr(first.model, "named_parameters")
    if model is None and params is not None and type(params) is type(first.model):
        model, params = params, None  # a second module
    if model is None:
        if is_module and not isinstance(params, Mapping):
            raise InputError(f"params2 must be a second module or a state_dict, got {type(params).__name__}")
        return (first, {}, params) if is_module else (UserNetwork(first.framework, first.model, params), {}, None)
    if hasattr(model, "named_parameters"):
        return as_network(model, None), _same_parameters(first.model, model), params
    given = first.params if params is None and first.framework != "equinox" else params
    return as_network(model, given), {}, None


def _same_parameters(first: Any, second: Any) -> dict[str, str]:
    """By the first module's name the second's name, of parameters that are the same object: one module may hold the
    other, or both a third."""
    if not hasattr(first, "named_parameters"):
        return {}
    known = {id(p): name for name, p in second.named_parameters()}
    return {name: known[id(p)] for name, p in first.named_parameters() if id(p) in known}

"""`ntk`: the kernel of a network of your own, in one call."""

from __future__ import annotations

import difflib
import inspect
import reprlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Any, Literal

from impls import registry
from impls.choice import auto
from impls.choice.auto import JACOBIAN_BYTES, Candidate
from impls.choice.costs import FACTORS, STRUCTURED
from impls.choice.halves import half as choice_half
from impls.frameworks.crossing import ways as crossing
from impls.frameworks.faces import free_memory
from impls.frameworks.uncompiled import uncompiled
from impls.given.asked import Asked
from impls.given.batches import OwnBatches, in_batches
from impls.given.network import OwnNetwork
from impls.given.saying import saying
from impls.given.selection import Where
from impls.own import finite, selfcheck, sides
from impls.own.halves import framework_of, half, own_network
from impls.own.recognise import user_network
from impls.programs.traces import traced_once
from impls.protocol import Array, Framework, Method, MethodNotInstalled
from impls.structured.explain import explain as table_of_plan
from impls.structured.planner import check_limit
from reference import InputError, Request
from reference.case import Outputs
from reference.tolerances import tolerance

# Those that hold the Jacobians of a block of examples of x1 (and, but for the products, of one of x2) get blocks that
# keep both within JACOBIAN_BYTES, or the memory limit, unless batch_size is given.
HOLD_JACOBIANS = ("equinox.exact", "torch_func.jacobian_contraction", "torch_func.ntk_vector_products",
                  "torch_autograd.per_example")


OF_FILES = ("out", "tile", "devices", "progress")
"""What `impls.ntk` takes besides, for a kernel on disk."""


@uncompiled
@traced_once()
def ntk(model: Any, x1: Array | Iterable[Any], x2: Array | Iterable[Any] | None = None, *, params: Any = None,
        outputs: Outputs = "full", method: str = "auto", batch_size: int | None = None,
        memory_limit: int | None = None, components: bool = False, explain: bool = False, verbose: bool = False,
        seed: int = 0, check: bool = True, expect_calls: int = 1, inputs: Any = None, select: Any = None,
        where: Where = None, params2: Any = None, model2: Any = None, pairs: Literal["same"] | None = None,
        **options: Any) -> Any:
    """`impls.ntk`, which says what it is; it stands apart so that importing `impls` stays quick."""
    network, asked = user_network(model, params), Asked(inputs, select, where)
    of = half(framework_of(network))
    with of.apart():
        second = sides.Second(model2, params2, pairs)
        found = sides.kernel(network, x1, x2, second, asked, own_network, user_network, outputs=outputs, method=method,
                             batch_size=batch_size, memory_limit=memory_limit, components=components, seed=seed,
                             options=options)
        if found is None:
            own = own_network(network, x1, x2, asked)
            found = _of_one_network(own, outputs, method, batch_size, memory_limit, seed, options, saying(verbose),
                                    components=components, explain=explain, check=check, calls=expect_calls)
        return of.plain(found)


def _of_one_network(own: OwnNetwork, outputs: Outputs, method: str, batch_size: int | None, memory_limit: int | None,
                    seed: int, options: Mapping[str, Any], say: Callable[[str], None], *, components: bool,
                    explain: bool, check: bool, calls: int) -> Any:
    if memory_limit is not None and not (isinstance(memory_limit, int | float) and memory_limit > 0):
        raise InputError(f"memory_limit must be a positive number of bytes, got {memory_limit!r}")
    request = Request(outputs, own.dtype, own.device, seed, batch_size, options)
    if not isinstance(method, str):
        raise InputError(f"method must be the name of a method, got {reprlib.repr(method)}; one that is not in the "
                         "registry has a function `kernel` of its own")
    if method != "auto":
        here, framework = own, registry.framework(method)
        if crosses := framework in ("jax", "torch") and framework != own.framework:
            _method(method, framework)  # what cannot take any function is told before
            own = crossing.cross(half(own.framework).whole(own), framework)
            request = replace(request, device=own.device)
        request, why = limited(method, own, request, memory_limit)
        say(f"ntk: {method}, batch_size={request.batch_size} ({why})")
        request = _explained(method, own, request, explain=explain)
        kernel = _checked(method, own, request, say, components=components, check=check)
        return crossing.back(kernel, here) if crosses else kernel
    if not isinstance(calls, int) or calls < 1:
        raise InputError(f"expect_calls must be a positive number of calls, got {calls!r}")
    if calls == 1 and memory_limit is None and not explain and not options:
        kernel = _untraced(own, request, say, components=components, check=check)
        if kernel is not None:
            return kernel
    return _first_that_can(own, request, memory_limit, say, calls=calls, components=components, explain=explain,
                           check=check)


def _untraced(own: OwnNetwork, request: Request, say: Callable[[str], None], *, components: bool,
              check: bool) -> Any | None:
    """The kernel by a method that needs no trace, where tracing alone is predicted to take longer; None elsewhere, and
    where all of them fail."""
    if in_batches(own) or request.batch_size is not None or own.device != "cpu":
        return None
    held = (len(own.x1) + (0 if own.x2 is None else len(own.x2))) * own.jacobian_bytes  # all at once, and copies
    free = free_memory(own.framework, own.device)
    if held > JACOBIAN_BYTES or (free is not None and 2 * held > auto.USABLE * free):
        return None
    try:
        found = choice_half(own.framework).one_call(own, request.outputs, check=check)
    except Exception as error:  # of a network that does not run so: the methods say what is the matter
        say(f"ntk: nothing is predicted before tracing: {reason(error)}")
        return None
    for name, each in sorted(found.items(), key=lambda item: item[1]):
        say(f"ntk: one call of {name} is predicted to take {each * 1e3:.3g} ms")
    for name in sorted(found, key=found.__getitem__):
        if name in STRUCTURED:
            return None
        try:
            allowed = selfcheck.SLACK * tolerance(own.dtype) if check else None
            ready = half(own.framework).ready(name, own, request, allowed, components=components)
            return _checked(name, own, request, say, components=components, check=check, mapped=True, ready=ready)
        except InputError:
            raise
        except Exception as error:  # as in `_first_that_can`
            say(f"ntk: not {name}: {reason(error)}")
    return None


def _first_that_can(own: OwnNetwork, request: Request, memory_limit: int | None, say: Callable[[str], None], *,
                    calls: int, components: bool, explain: bool, check: bool) -> Any:
    """By the fastest method, or the next one where it fails, for whatever reason; all reasons where none is left. What
    the user's network or input lacks (`InputError`) no other method has."""
    check_no_options(request.options)
    try:
        found = auto.candidates(own, request, memory_limit, calls)
    except InputError:
        raise
    except Exception as error:  # of the engine, while it traces and plans: the others need neither
        say(f"ntk: structured_{own.framework} cannot plan: {reason(error)}")
        found = _unplanned(own, request, error)
    say(auto.table(found))
    *others, last = [candidate for candidate in found if not candidate.obstacle]
    if explain:
        print(*(table_of_plan(candidate.engine.plan) for candidate in found if candidate.engine is not None))
        if (first := (*others, last)[0]).engine is None:
            print(f"{first.name} is predicted to be faster, and is taken")
    unable = {candidate.name: candidate.obstacle for candidate in found if candidate.obstacle}
    failed: Exception | None = None
    for candidate in (*others, last):
        try:
            return _compute_candidate(candidate, own, request, say, components=components, check=check)
        except InputError:
            raise
        except Exception as error:  # a method's own failing, of which there is no list: another may not have it
            failed = error
            unable[candidate.name] = reason(error)
            say(f"ntk: not {candidate.name}: {unable[candidate.name]}")
    raise InputError(auto.none_fits(unable)) from failed


def check_no_options(options: Mapping[str, Any]) -> None:
    """Raise `InputError` for options, which "auto" does not take: a keyword that is misspelt is one."""
    if not options:
        return
    parameters = inspect.signature(ntk).parameters.values()
    known = [*(each.name for each in parameters if each.kind is each.KEYWORD_ONLY), *OF_FILES]
    near = [close for name in options for close in difflib.get_close_matches(name, known, n=1)]
    raise InputError(f"method='auto' takes no options of a method, got {', '.join(options)}; "
                     + (f"did you mean {' and '.join(near)}?" if near else "name a method"))


def _unplanned(own: OwnNetwork, request: Request, error: Exception) -> list[Candidate]:
    """The methods that hold Jacobians, with blocks that fit, and then the others; nothing is predicted."""
    engine = f"structured_{own.framework}"
    names = usable(own.framework, dict.fromkeys((*HOLD_JACOBIANS, *FACTORS)))
    size = request.batch_size or _batch_size(own, JACOBIAN_BYTES)[0]
    return [*(Candidate(name, 0.0, 0.0, size) for name in names if name != engine),
            Candidate(engine, 0.0, 0.0, obstacle=reason(error))]


def reason(error: Exception) -> str:
    """In one line, with its kind where it is no refusal."""
    first = (str(error).strip() or "no message").splitlines()[0]
    return first if isinstance(error, MethodNotInstalled | NotImplementedError) else f"{type(error).__name__}: {first}"


def _compute_candidate(candidate: Candidate, own: OwnNetwork, request: Request, say: Callable[[str], None], *,
                       components: bool, check: bool) -> Any:
    limit = {} if candidate.memory_limit is None else {"memory_limit": candidate.memory_limit}
    request = replace(request, batch_size=candidate.batch_size, options=limit)
    keeps = own.framework == "torch" and not components and not in_batches(own)  # JAX has a place for its engines
    engine = candidate.engine if keeps else None
    return _checked(candidate.name, own, request, say, components=components, check=check, engine=engine)


def _checked(name: str, own: OwnNetwork, request: Request, say: Callable[[str], None], *, components: bool,
             check: bool, mapped: bool = False, engine: Any = None, ready: tuple[Any, bool] | None = None) -> Any:
    """The kernel; a structured engine's is checked, and one that is not finite is an error that says where. `mapped`:
    it was not traced, so that whether examples can be mapped is not known, and is checked as well. `ready`: the kernel,
    and whether it is known to be right."""
    if ready is not None:
        kernel = ready[0]
    elif engine is not None:  # traced and planned already
        kernel = engine(own.params, own.x1, own.x2)
    else:
        kernel = _compute(name, own, request, components=components)
    finite.check(kernel, own, name)
    if ready is not None and ready[1]:
        return kernel
    if not check or name not in (*STRUCTURED, *(auto.MAP_EXAMPLES if mapped else ())):
        return kernel
    return selfcheck.checked(name, kernel, own, request, say, lambda other, asked: _compute(
        other, own, asked, components=components))


def _compute(name: str, own: OwnNetwork, request: Request, *, components: bool) -> Any:
    method: Any = _method(name, own.framework)
    if components:
        own = half(own.framework).whole(own)
        return _components_of(method, own.framework)(own.f, own.params, own.x1, own.x2, request)
    if in_batches(own):
        if hasattr(method, "kernel_of_batches"):
            batches1, batches2 = (x if x is None or isinstance(x, OwnBatches) else [x] for x in (own.x1, own.x2))
            return method.kernel_of_batches(own.f, own.params, batches1, batches2, request)
        own = half(own.framework).whole(own)
    return method.kernel(own.f, own.params, own.x1, own.x2, request)


def limited(name: str, own: OwnNetwork, request: Request, memory_limit: int | None) -> tuple[Request, str]:
    """The request for a method that was named, with blocks or options that keep it within the limit; and why."""
    if name in STRUCTURED and memory_limit is not None:
        _method(name, own.framework)  # where it is not of this framework, that is what to say
        check_limit(auto.planned(own, request, memory_limit)[0].plan)
        return replace(request, options={**request.options, "memory_limit": memory_limit}), "planned for the limit"
    if request.batch_size is not None:
        return request, "as given"
    if name in HOLD_JACOBIANS:
        if memory_limit is not None and memory_limit < 2 * own.jacobian_bytes:
            raise InputError(f"memory_limit={memory_limit} is not enough for {name}: the Jacobians of two examples "
                             f"take {2 * own.jacobian_bytes} bytes; give as many, or name structured_{own.framework}")
        size, why = _batch_size(own, JACOBIAN_BYTES if memory_limit is None else memory_limit)
        return replace(request, batch_size=size), why
    if memory_limit is not None:
        raise InputError(f"{name} cannot plan for a memory_limit; give it a batch_size, or choose one of "
                         f"{', '.join(usable(own.framework, (*STRUCTURED, *HOLD_JACOBIANS)))}")
    return request, "it holds no whole Jacobians"


def usable(framework: Framework, names: Iterable[str]) -> list[str]:
    """Those of that framework."""
    return [name for name in names if registry.framework(name) == framework]


def _explained(name: str, own: OwnNetwork, request: Request, *, explain: bool) -> Request:
    if not explain:
        return request
    if name not in STRUCTURED:
        print(f"{name} does not treat parameters one by one; explain=True is for "
              f"{', '.join(usable(own.framework, STRUCTURED))}")
        return request
    return replace(request, options={**request.options, "explain": True})


def _method(name: str, framework: Framework) -> Method:
    if (its_framework := registry.framework(name)) != framework:
        raise InputError(f"{name} works on {its_framework}, but the model is of {framework}; choose one of "
                         f"{', '.join(_general(framework))}")
    method = registry.load(name)
    if not hasattr(method, "kernel"):
        raise InputError(f"ntk does not offer {name}, which does not take any function of the parameters; choose one "
                         f"of {', '.join(_general(framework))} (`python -m bench run --model` tries all methods)")
    return method


def _general(framework: Framework) -> list[str]:
    """The methods of that framework that are installed and work on any function."""
    return [name for name in usable(framework, registry.names()) if _offers(name, "kernel")]


def _components_of(method: Method, framework: Framework) -> Callable[..., dict[str, Array]]:
    if not hasattr(method, "components"):
        able = [name for name in _general(framework) if _offers(name, "components")]
        raise InputError(f"{method.name} does not give the kernel of each parameter; choose one of {', '.join(able)}")
    return getattr(method, "components")  # noqa: B009  the protocol leaves it out


def _offers(name: str, what: str) -> bool:
    try:
        return hasattr(registry.load(name), what)
    except MethodNotInstalled:
        return False


def _batch_size(own: OwnNetwork, room: float | int) -> tuple[int | None, str]:
    """The number of examples in a block, None for all of them, and why."""
    fits = max(1, int(room) // (2 * own.jacobian_bytes))
    reason = (f"Jacobians take {own.jacobian_bytes:,} bytes an example, and two blocks of them at most "
              f"{room / 2**20:,.4g} MiB")
    return (None if fits >= max(len(x) for x in (own.x1, own.x2) if x is not None) else fits), reason

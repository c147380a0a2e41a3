"""structured_torch where numbers come from elsewhere than parameters and examples, and at single positions."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch", reason="the structured PyTorch engine needs PyTorch")

from torch import Tensor  # noqa: E402

from impls.frameworks.torch.internals import FakeTensorMode  # noqa: E402
from impls.frameworks.torch.support import module_function  # noqa: E402
from impls.programs.program import Constant, Value  # noqa: E402
from impls.programs.torch.program import Step, Untraceable, check_known  # noqa: E402
from impls.programs.traces import traced_once  # noqa: E402
from impls.structured.torch import local as torch_local  # noqa: E402
from impls.structured.torch.engine import Engine  # noqa: E402
from impls.structured.torch.rows import add_product  # noqa: E402
from reference.tolerances import tolerance  # noqa: E402
from tests.impls.structured.odd import ODD  # noqa: E402
from tests.impls.structured.test_torch import OUTPUTS, assert_kernel, kernels  # noqa: E402

aten = torch.ops.aten


@pytest.mark.parametrize("name", ODD)
@traced_once()
def test_kernel(name: str) -> None:
    module, x1, x2 = ODD[name].draw(3, 2, torch.float64)
    (f, params), right = module_function(module), kernels(module, x1, x2)
    for symmetric, second in ((True, None), (False, x2)):
        for outputs in OUTPUTS:
            engine = Engine(f, params, x1, second, outputs=outputs)
            assert_kernel(engine(params, x1, second), right[symmetric], outputs, "float64")
            rules, wanted = {step.parameter.name: step.parameter.rule for step in engine.plan.steps}, ODD[name].rules
            assert {key: rules[key][: len(rule)] for key, rule in wanted.items()} == wanted


def test_local_gradients_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """As those of large parameters are taken."""
    monkeypatch.setattr(torch_local, "AT_ONCE", 0)
    test_kernel("standardised_weights")
    test_kernel("complex_weights")


def test_sums_of_millions_in_float32() -> None:
    rows = torch.ones(2, 3_000_000) + 0.3
    kernel = torch.empty(2, 2)
    add_product([(rows, rows)], None, kernel.zero_(), 2, 64)
    exact = (rows.double() @ rows.double().T)
    assert ((kernel.double() - exact).abs() / exact).max() <= tolerance("float32")


@pytest.mark.parametrize("name", ["more_outputs_than_parameters", "in_forward_mode_no_rule"])
def test_forward_mode(name: str) -> None:
    """Taken where it is cheaper, given up where PyTorch has none; components as well."""
    module, x1, _ = ODD[name].draw(3, 2, torch.float64)
    f, params = module_function(module)
    engine = Engine(f, params, x1, None, outputs="trace", components=True)
    assert engine.plan.forward
    found = engine.components(params, x1, None)
    assert engine.plan.forward is (name == "more_outputs_than_parameters")
    for part, kernel in found.items():
        assert_kernel(kernel, kernels(module, x1, x1, part)[True], "trace", "float64")


@pytest.mark.parametrize("where", ["argument", "constant", "keyword", "list"])
@pytest.mark.parametrize("kind", ["fake", "meta"])
def test_tensors_without_numbers_are_refused(kind: str, where: str) -> None:
    with FakeTensorMode():
        left = torch.ones(2, device="meta" if kind == "meta" else None)
    value = Value((2,), torch.float64)
    args, kwargs = {
        "argument": ((2, left), {}),
        "constant": ((2, Constant(left)), {}),
        "keyword": ((value,), {"other": left}),
        "list": (([value, left],), {}),
    }[where]
    with pytest.raises(Untraceable, match="without numbers"):
        check_known([Step(aten.pow.Scalar, args, kwargs, (value,))], value)


def test_buffers_changed_between_calls() -> None:
    """A kept engine reads them as they are."""
    buffer = torch.ones(2, dtype=torch.float64)
    params = {"w": torch.ones(3, 2, dtype=torch.float64)}

    def f(params: dict[str, Tensor], x: Tensor) -> Tensor:
        return x @ params["w"] * (2**buffer)

    x = torch.ones(1, 3, dtype=torch.float64)
    engine = Engine(f, params, x, None, outputs="trace")
    first = [engine(params, x, None).item() for _ in range(3)]
    buffer.mul_(2)
    assert [*first, engine(params, x, None).item()] == [24.0, 24.0, 24.0, 96.0]

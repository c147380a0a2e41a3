"""The PyTorch methods on the shared networks, against the proved kernels."""

from __future__ import annotations

from typing import get_args

import pytest

torch = pytest.importorskip("torch", reason="the PyTorch half is not installed")

import impls  # noqa: E402
from impls.frameworks.arrays import to_numpy  # noqa: E402
from reference import Case, Comparison, Request, case, cases, compare, expected  # noqa: E402
from reference.case import DType, Outputs  # noqa: E402

GENERAL = ("torch_func.jacobian_contraction", "torch_func.ntk_vector_products", "torch_autograd.per_example")
METHODS = (*GENERAL, "explicit_mlp")
SUPPORTED = [(method, shared.name) for method in METHODS for shared in cases()
             if impls.unsupported(impls.load(method), shared, Request()) is None]
FORMS = ("mlp_tanh_ntk", "conv_pool_dense")


def compared(method: str, shared: Case, request: Request) -> Comparison:
    kernel = to_numpy(impls.load(method).prepare(shared, request)())
    return compare(kernel, expected(shared), outputs=request.outputs, dtype=request.dtype, symmetric=shared.symmetric)


@pytest.mark.parametrize(("method", "name"), SUPPORTED)
def test_proved_kernel(method: str, name: str) -> None:
    comparison = compared(method, case(name), Request(dtype="float64"))
    assert comparison.ok, comparison.reason


@pytest.mark.parametrize("batch_size", [None, 1, 3, 100])
@pytest.mark.parametrize("symmetric", [False, True], ids=["x2", "symmetric"])
@pytest.mark.parametrize("outputs", get_args(Outputs))
@pytest.mark.parametrize("dtype", get_args(DType))
@pytest.mark.parametrize(("method", "name"), [pair for pair in SUPPORTED if pair[1] in FORMS])
def test_every_form(
    method: str, name: str, dtype: DType, outputs: Outputs, symmetric: bool, batch_size: int | None
) -> None:
    shared = case(name).with_symmetry() if symmetric else case(name)
    comparison = compared(method, shared, Request(outputs=outputs, dtype=dtype, batch_size=batch_size))
    assert comparison.ok, comparison.reason


@pytest.mark.parametrize(("method", "name"), SUPPORTED)
def test_proved_kernel_in_float32(method: str, name: str) -> None:
    comparison = compared(method, case(name), Request(outputs="trace", batch_size=3))
    assert comparison.ok, comparison.reason


@pytest.mark.parametrize("method", METHODS)
def test_computes_anew_at_each_call(method: str) -> None:
    compute = impls.load(method).prepare(case("mlp_gelu"), Request())
    first, second = compute(), compute()
    assert torch.equal(first, second)
    assert first.data_ptr() != second.data_ptr()
    assert not first.requires_grad
    assert first.is_contiguous()


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device on this machine")
def test_cuda(method: str) -> None:
    for dtype in get_args(DType):
        comparison = compared(method, case("mlp_wide"), Request(dtype=dtype, device="cuda", batch_size=3))
        assert comparison.ok, comparison.reason

"""What the PyTorch methods share, and that none of it changes PyTorch for anyone else."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from threading import Event, Thread
from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="the PyTorch half is not installed")

import impls  # noqa: E402
from impls.frameworks.arrays import to_numpy  # noqa: E402
from impls.frameworks.torch.support import device, precision  # noqa: E402
from impls.networks.torch import build  # noqa: E402
from reference import InputError, Request, case, compare, expected  # noqa: E402
from tests.impls.methods.test_torch_methods import METHODS  # noqa: E402


def global_state() -> dict[str, Any]:
    backends: Any = torch.backends
    return {
        "grad": torch.is_grad_enabled(),
        "inference": torch.is_inference_mode_enabled(),
        "dtype": torch.get_default_dtype(),
        "device": torch.get_default_device(),
        "random": torch.get_rng_state().numpy().tobytes(),
        "threads": torch.get_num_threads(),
        "deterministic": torch.are_deterministic_algorithms_enabled(),
        "autocast": (torch.is_autocast_enabled("cpu"), torch.is_autocast_enabled("cuda")),
        "fp32": (backends.fp32_precision, backends.cuda.matmul.fp32_precision, backends.cudnn.conv.fp32_precision,
                 backends.cudnn.rnn.fp32_precision, backends.mkldnn.matmul.fp32_precision,
                 backends.mkldnn.conv.fp32_precision, backends.mkldnn.rnn.fp32_precision),
        "attention": (backends.mha.get_fastpath_enabled(), backends.cuda.flash_sdp_enabled(),
                      backends.cuda.mem_efficient_sdp_enabled(), backends.cuda.math_sdp_enabled(),
                      backends.cuda.cudnn_sdp_enabled()),
    }  # fmt: skip


@pytest.fixture(params=["highest", "medium"])
def matmul_precision(request: pytest.FixtureRequest):
    """PyTorch as it comes, and with float32 products that may be computed in bfloat16."""
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision(request.param)
    yield request.param
    torch.set_float32_matmul_precision(before)


@pytest.mark.parametrize("method", METHODS)
def test_global_state_is_kept(method: str, matmul_precision: str) -> None:
    before = global_state()
    impls.load(method).prepare(case("mlp_relu"), Request())()
    assert global_state() == before


AMBIENT: dict[str, Callable[[], AbstractContextManager]] = {
    "plain": nullcontext,
    "no_grad": torch.no_grad,
    "autocast": lambda: torch.autocast("cpu", dtype=torch.bfloat16),
    "default device": lambda: torch.device("meta"),
}


@pytest.mark.parametrize("ambient", AMBIENT)
@pytest.mark.parametrize("method", METHODS)
def test_values_do_not_depend_on_the_callers_settings(method: str, ambient: str, matmul_precision: str) -> None:
    shared = case("mlp_wide")
    with AMBIENT[ambient]():
        kernel = impls.load(method).prepare(shared, Request())()
    comparison = compare(to_numpy(kernel), expected(shared), outputs="full", dtype="float32", symmetric=False)
    assert comparison.ok, comparison.reason


def test_precision_of_threads_that_overlap() -> None:
    """The settings are the process's: the first thread to leave must not take them from the other, and the other must
    not put back what the first had set."""
    before, entered, left = global_state(), Event(), Event()
    inside: list[str] = []

    def other() -> None:
        with precision("float32"):
            entered.set()
            assert left.wait(30)
            inside.append(global_state()["fp32"][2])

    thread = Thread(target=other)
    with precision("float32"):
        thread.start()
        assert entered.wait(30)
    left.set()
    thread.join()
    assert inside == ["ieee"]
    assert global_state() == before


def test_precision_is_ieee_inside_and_put_back_after_an_error(matmul_precision: str) -> None:
    before = global_state()
    with precision("float32"):
        assert set(global_state()["fp32"][1:]) == {"ieee"}
    assert global_state() == before
    with pytest.raises(ZeroDivisionError), precision("float32"):
        _ = 1 / 0
    assert global_state() == before


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, "int32"])
def test_other_dtypes_are_refused(dtype: Any) -> None:
    with pytest.raises(InputError, match="is not one of float32, float64"), precision(dtype):
        pass


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a CUDA device")
@pytest.mark.parametrize("method", METHODS)
def test_missing_cuda_names_the_remedy(method: str) -> None:
    with pytest.raises(InputError, match="use device='cpu'"):
        impls.load(method).prepare(case("mlp_relu"), Request(device="cuda"))
    with pytest.raises(InputError, match="use device='cpu'"):
        device("cuda")


@pytest.mark.parametrize("method", METHODS)
def test_unknown_option_is_refused(method: str) -> None:
    with pytest.raises(InputError, match="proj_dim"):
        impls.load(method).prepare(case("mlp_relu"), Request(options={"proj_dim": 4}))


@pytest.mark.parametrize("name", ["mlp_tanh_ntk", "conv_pool_dense"])
def test_built_network_names_its_parameters_as_the_case_does(name: str) -> None:
    shared = case(name)
    module = build(shared, torch.float64, torch.device("cpu"))
    assert {key: tuple(p.shape) for key, p in module.named_parameters()} == shared.network.param_shapes()
    assert not module.training
    assert all(torch.equal(p, torch.tensor(shared.params[key])) for key, p in module.named_parameters())


def test_numbers_that_numpy_has_no_view_of() -> None:
    narrow, turned = torch.tensor([1.5, -3.0]).bfloat16(), torch.tensor([1 + 2j]).conj()
    assert to_numpy(narrow).tolist() == [1.5, -3.0]
    assert to_numpy(turned).tolist() == [1 - 2j]
    assert to_numpy(torch.nn.Parameter(turned.imag)).tolist() == [-2.0]

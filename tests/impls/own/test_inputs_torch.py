"""A PyTorch network of several inputs, with outputs to select among and parameters to choose: `impls.ntk` of these."""

from __future__ import annotations

import warnings
from collections import OrderedDict, UserDict, namedtuple
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the PyTorch half is not installed")
from torch import Tensor, nn  # noqa: E402
from torch.utils.data import DataLoader, TensorDataset  # noqa: E402

from impls import ntk  # noqa: E402
from reference import InputError  # noqa: E402
from tests.naive_torch import agrees, naive  # noqa: E402

IDS = torch.tensor([[1, 2, 3, 4], [5, 6, 0, 0], [7, 1, 2, 0], [3, 3, 3, 3], [8, 0, 0, 0]])
MASK = (IDS > 0).long()


class Encoder(nn.Module):
    """Embeds tokens, attends where the mask is 1, and averages: BERT's inputs."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.tokens, self.types = nn.Embedding(9, 6), nn.Embedding(2, 6)
        self.attention, self.head = nn.MultiheadAttention(6, 2, batch_first=True), nn.Linear(6, 2)

    def forward(self, input_ids: Tensor, attention_mask: Tensor | None = None, token_type_ids: Tensor | None = None,
                *, scale: float = 1.0, return_dict: bool = False) -> Any:
        h = self.tokens(input_ids)
        h = h if token_type_ids is None else h + self.types(token_type_ids)
        mask = torch.ones_like(input_ids) if attention_mask is None else attention_mask
        h = self.attention(h, h, h, key_padding_mask=mask == 0, need_weights=False)[0] * mask[..., None]
        y = self.head(torch.tanh(h.sum(1))) * scale
        return Output(logits=y, hidden_states=h) if return_dict else y


class Output(OrderedDict):
    """As Hugging Face's ModelOutput: a dict whose items are attributes too."""

    def __getattr__(self, name: str) -> Any:
        return self[name]


Both = namedtuple("Both", "input_ids attention_mask")


@dataclass(frozen=True)
class Graph:
    nodes: Tensor
    edges: Tensor
    name: str | None = None


class GraphNet(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(1)
        self.first, self.second = nn.Linear(3, 4), nn.Linear(4, 2)

    def forward(self, graph: Graph) -> Tensor:
        return self.second(torch.tanh(graph.edges @ self.first(graph.nodes))).sum(1)


def due(module: nn.Module, call: Callable[[nn.Module, int], Tensor], n: int = 5) -> np.ndarray:
    return naive(module, call, n)


def masked(module: nn.Module, n: int) -> Tensor:
    return module(IDS[n : n + 1], MASK[n : n + 1])


STRUCTURES: dict[str, Any] = {
    "tuple": (IDS, MASK),
    "with None": (IDS, MASK, None),
    "dict": {"input_ids": IDS, "attention_mask": MASK},
    "numbers beside": {"input_ids": IDS, "attention_mask": MASK, "scale": 1.0},
    "UserDict": UserDict(input_ids=IDS, attention_mask=MASK),
    "NumPy": (IDS.numpy(), MASK.numpy()),
    "truth values": (IDS, MASK.bool()),
    "list of dicts": [{"input_ids": IDS[:2], "attention_mask": MASK[:2]},
                      {"input_ids": IDS[2:], "attention_mask": MASK[2:]}],
    "list of tuples": [(IDS[:2], MASK[:2]), (IDS[2:], MASK[2:])],
}


@pytest.mark.parametrize("x", STRUCTURES.values(), ids=STRUCTURES)
def test_every_input_reaches_the_network(x: Any) -> None:
    module = Encoder()
    agrees(ntk(module, x), due(module, masked))


def test_x2_and_blocks_and_components() -> None:
    module, x2 = Encoder(), (IDS[:2], MASK[:2])
    expected = due(module, masked)
    agrees(ntk(module, (IDS, MASK), x2, method="structured_torch", batch_size=2), expected[:, :2])
    parts = ntk(module, (IDS, MASK), x2, components=True, outputs="trace", where=["head.*", "tokens.weight"])
    assert set(parts) == {"head.weight", "head.bias", "tokens.weight"}


@pytest.mark.parametrize("method", ["torch_func.jacobian_contraction", "torch_autograd.per_example",
                                    "structured_torch"])
def test_all_methods_take_structures(method: str) -> None:
    module = Encoder()
    agrees(ntk(module, (IDS, MASK, MASK), method=method),
           due(module, lambda m, n: m(IDS[n : n + 1], MASK[n : n + 1], MASK[n : n + 1])))


def test_a_dataclass_is_rebuilt_for_each_batch() -> None:
    module, nodes, edges = GraphNet(), torch.randn(5, 4, 3), torch.rand(5, 4, 4)
    agrees(ntk(module, Graph(nodes, edges)),
           due(module, lambda m, n: m(Graph(nodes[n : n + 1].double(), edges[n : n + 1].double()))))


class Wrapper(nn.Module):
    """Of one input that is itself a structure."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = Encoder()

    def forward(self, batch: Any) -> Tensor:
        ids, mask = (batch["ids"], batch["mask"]) if isinstance(batch, dict) else batch
        return self.inner(ids, mask)


@pytest.mark.parametrize("x", [{"ids": IDS, "mask": MASK}, ({"ids": IDS, "mask": MASK},), (IDS, MASK),
                               Both(IDS, MASK)], ids=["dict", "dict in a tuple", "tuple", "named tuple"])
def test_a_structure_as_the_one_argument(x: Any) -> None:
    module = Wrapper()
    agrees(ntk(module, x), due(module, lambda m, n: m((IDS[n : n + 1], MASK[n : n + 1]))))


def test_a_function_is_given_the_structure() -> None:
    module, params = Encoder(), {}
    params = {name: p.detach() for name, p in module.named_parameters()}

    def f(params: Any, x: Any) -> Tensor:
        return torch.func.functional_call(module, params, (x["ids"], x["mask"]))

    agrees(ntk(f, {"ids": IDS, "mask": MASK}, params=params), due(module, masked))


def loader(*arrays: Tensor) -> DataLoader:
    return DataLoader(TensorDataset(*arrays), batch_size=2)


Y = torch.zeros(5)


def test_inputs_of_a_data_loader() -> None:
    module = Encoder()
    expected = due(module, masked)
    agrees(ntk(module, loader(IDS, MASK, Y), inputs=(0, 1)), expected)
    agrees(ntk(module, loader(IDS, Y), inputs=0), due(module, lambda m, n: m(IDS[n : n + 1])))
    labelled = [{"input_ids": IDS, "attention_mask": MASK, "target": Y}]
    agrees(ntk(module, labelled, inputs=("input_ids", "attention_mask")), expected)
    agrees(ntk(module, labelled, inputs=lambda batch: (batch["input_ids"], batch["attention_mask"])), expected)


def test_a_pair_means_x_where_the_network_takes_one_input() -> None:
    torch.manual_seed(0)
    module, x = nn.Linear(3, 2), torch.randn(5, 3)
    agrees(ntk(module, loader(x, Y)), due(module, lambda m, n: m(x[n : n + 1].double())))


@pytest.mark.parametrize(("x", "said"), [
    (loader(IDS, MASK, Y), r"3 items \(0: .* 2: .*inputs=\(0, 1\)"),
    (loader(IDS, MASK), r"2 items .*inputs="),
    ([{"input_ids": IDS, "labels": Y}], r"takes no 'labels'.*inputs='input_ids'"),
    ({"input_ids": IDS, "labels": Y}, r"takes no 'labels'"),
    ((IDS, MASK, MASK, MASK), "x1 has 4 items, and the network takes up to 3"),
    ((IDS, MASK[:3]), r"x1\[0\] 5, x1\[1\] 3"),
    ((IDS, torch.tensor(1)), r"x1\[1\] is a single number"),
    ({"input_ids": IDS, "attention_mask": ["a"] * 5}, r"\['attention_mask'\]\[0\] holds a str"),
    ((None, None), "holds no array"),
], ids=["three items", "a pair for two inputs", "labels", "labels at once", "too many", "unlike lengths",
        "a single number", "text", "nothing"])  # fmt: skip
def test_what_leaves_a_doubt_is_an_error_that_names_it(x: Any, said: str) -> None:
    with pytest.raises(InputError, match=said):
        ntk(Encoder(), x)


def test_inputs_that_are_not_there() -> None:
    with pytest.raises(InputError, match="no item 'input_idz'; did you mean input_ids"):
        ntk(Encoder(), [{"input_ids": IDS}], inputs="input_idz")
    with pytest.raises(InputError, match="single array"):
        ntk(Encoder(), IDS, inputs=0)


def test_infinities_are_named() -> None:
    with pytest.raises(InputError, match=r"x1\.?.*edges"):
        ntk(GraphNet(), Graph(torch.randn(2, 4, 3), torch.full((2, 4, 4), float("inf"))))


class Outputs(NamedTuple):
    loss: Tensor
    y: Tensor


class Many(nn.Module):
    def __init__(self, make: Callable[[Tensor], Any]) -> None:
        super().__init__()
        torch.manual_seed(2)
        self.layer, self.make = nn.Linear(3, 2), make

    def forward(self, x: Tensor) -> Any:
        return self.make(torch.tanh(self.layer(x)))


@pytest.mark.parametrize(("make", "select"), [
    (lambda y: Output(loss=None, logits=y), "logits"), (lambda y: {"a": y, "b": y * 2}, "a"),
    (lambda y: (y * 3, y), 1), (lambda y: (y * 3, y), -1), (lambda y: Outputs(y.sum(), y), "y"),
    (lambda y: [y], 0), (lambda y: (y, {"z": y}), lambda out: out[1]["z"]),
], ids=["object", "dict", "place", "from the end", "named tuple", "list", "function"])  # fmt: skip
def test_select(make: Callable[[Tensor], Any], select: Any) -> None:
    module, x, plain = Many(make), torch.randn(4, 3), Many(lambda y: y)
    agrees(ntk(module, x, select=select), due(plain, lambda m, n: m(x[n : n + 1].double()), 4))
    with pytest.raises(InputError, match="select="):
        ntk(module, x)


def test_select_names_what_there_is() -> None:
    x = torch.randn(4, 3)
    with pytest.raises(InputError, match=r"'logits' \(\(.*\) float32\), 'hidden' .*select='logits'"):
        ntk(Many(lambda y: Output(loss=y.sum(), logits=y, hidden=y)), x)
    with pytest.raises(InputError, match=r"select='logit'.*'logits'"):
        ntk(Many(lambda y: Output(logits=y)), x, select="logit")
    with pytest.raises(InputError, match="returns one array"):
        ntk(Many(lambda y: y), x, select=0)


class Lora(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(3)
        self.base = nn.Linear(4, 3)
        self.lora_a, self.lora_b = nn.Linear(4, 2, bias=False), nn.Linear(2, 3, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return torch.tanh(self.base(x) + self.lora_b(self.lora_a(x)))


@pytest.mark.parametrize("where", ["*lora_*", ["*lora_a*", "2.lora_b.weight", "0.lora_b.weight"],
                                   lambda name, value: "lora" in name and value.ndim == 2],
                         ids=["pattern", "several", "predicate"])
def test_where(where: Any) -> None:
    module, x = nn.Sequential(Lora(), nn.Linear(3, 4), Lora()), torch.randn(5, 4)
    before = {name: p.clone() for name, p in module.named_parameters()}
    kernel = ntk(module, x, where=where, method="structured_torch")
    for name, p in module.named_parameters():
        p.requires_grad_("lora" in name)
        assert torch.equal(p, before[name])
    agrees(kernel, due(module, lambda m, n: m(x[n : n + 1].double())))


def test_where_without_a_match() -> None:
    with pytest.raises(InputError, match=r"where='\*.lora_c' fits no .*near are .*lora_"):
        ntk(Lora(), torch.randn(2, 4), where="*.lora_c")
    with pytest.raises(InputError, match="holds for none of the 4"):
        ntk(Lora(), torch.randn(2, 4), where=lambda name, value: False)


def test_hooks_of_parameters_are_told() -> None:
    module, x = nn.Linear(4, 3), torch.randn(5, 4)
    unhooked = ntk(module, x)
    hook = module.weight.register_hook(lambda gradient: gradient * 0)
    with pytest.warns(UserWarning, match="register_hook changes in the gradient of weight is no part"):
        assert torch.equal(ntk(module, x), unhooked)
    hook.remove()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        ntk(module, x)


def test_no_outputs() -> None:
    for method in ("auto", "structured_torch"):
        with pytest.raises(InputError, match=r"no outputs: for 1 example\(s\) it returns shape \(1, 0\)"):
            ntk(nn.Sequential(nn.Linear(4, 3), nn.Unflatten(1, (3, 1)), Nothing()), torch.randn(5, 4), method=method)


class Nothing(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x[:, 0, 1:]

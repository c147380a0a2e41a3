"""PyTorch: Hugging Face transformers, timm, vit-pytorch, neuraloperator, e3nn, PyTorch Geometric and others.

Configurations are small where the package lets them be, so that the truth, a loop of backward passes in float64, takes
seconds; the architecture is the package's own. Nothing is downloaded.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from importlib import import_module
from typing import Any

import torch
from torch import Tensor

from tests.models.entry import N_EXAMPLES, N_OUTPUTS, Entry, Made
from tests.models.torchvision_stand_in import names_of_torchvision

# Of timm: name, then arguments of its constructor, and the side of the image.
TIMM: tuple[tuple[str, dict[str, Any], int], ...] = (
    ("resnet18", {}, 32),
    ("resnet26d", {}, 64),
    ("resnext26ts", {}, 64),
    ("seresnet18", {}, 64),
    ("skresnet18", {}, 64),
    ("densenet121", {"growth_rate": 8, "block_config": (2, 2, 2, 2)}, 64),
    ("mobilenetv2_035", {}, 64),
    ("mobilenetv3_small_050", {}, 64),
    ("tf_efficientnetv2_b0", {}, 64),
    ("ghostnet_050", {}, 64),
    ("mnasnet_050", {}, 64),
    ("convnext_atto", {}, 64),
    ("convnextv2_atto", {}, 64),
    ("regnetx_002", {}, 64),
    ("repvgg_a0", {}, 64),
    ("nf_resnet26", {}, 64),
    ("resnetv2_50", {"layers": (1, 1, 1, 1)}, 64),
    ("vit_tiny_patch16_224", {"img_size": 64, "depth": 4}, 64),
    ("deit_tiny_patch16_224", {"img_size": 64, "depth": 4}, 64),
    ("swin_tiny_patch4_window7_224", {"img_size": 56, "embed_dim": 24, "depths": (2, 2)}, 56),
    ("mixer_s32_224", {"img_size": 64}, 64),
    ("resmlp_12_224", {"img_size": 64}, 64),
    ("poolformer_s12", {}, 64),
    ("coat_lite_tiny", {"img_size": 64}, 64),
    ("xcit_nano_12_p16_224", {"img_size": 64, "depth": 4}, 64),
    ("levit_128s", {"img_size": 64}, 64),
    ("edgenext_xx_small", {}, 64),
    ("mobilevit_xxs", {}, 64),
    ("maxvit_rmlp_pico_rw_256", {"img_size": 64}, 64),
    ("fastvit_t8", {}, 64),
    ("efficientformerv2_s0", {"img_size": 64}, 64),
    ("inception_next_atto", {}, 64),
)


def _timm(name: str, options: dict[str, Any], side: int) -> Made:
    names_of_torchvision()
    timm: Any = import_module("timm")

    model = timm.create_model(name, pretrained=False, num_classes=N_OUTPUTS, **options).eval()
    return Made(model, torch.randn(N_EXAMPLES, 3, side, side))


TEXT = {
    "vocab_size": 50,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 48,
    "max_position_embeddings": 24,
    "num_labels": N_OUTPUTS,
    "pad_token_id": 0,
}

# Hugging Face: class of the model, class of its configuration, and what differs from TEXT.
TRANSFORMERS: tuple[tuple[str, str, dict[str, Any]], ...] = (
    ("BertForSequenceClassification", "BertConfig", {}),
    ("RobertaForSequenceClassification", "RobertaConfig", {"max_position_embeddings": 30}),
    (
        "DistilBertForSequenceClassification",
        "DistilBertConfig",
        {"dim": 32, "n_layers": 2, "n_heads": 4, "hidden_dim": 48},
    ),
    ("AlbertForSequenceClassification", "AlbertConfig", {"embedding_size": 16}),
    ("ElectraForSequenceClassification", "ElectraConfig", {"embedding_size": 16}),
    ("GPT2ForSequenceClassification", "GPT2Config", {"n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 24}),
    ("LlamaForSequenceClassification", "LlamaConfig", {"num_key_value_heads": 2}),
    ("Qwen2ForSequenceClassification", "Qwen2Config", {"num_key_value_heads": 2}),
    ("MistralForSequenceClassification", "MistralConfig", {"num_key_value_heads": 2, "head_dim": 8}),
    ("GemmaForSequenceClassification", "GemmaConfig", {"num_key_value_heads": 2, "head_dim": 8}),
    ("OPTForSequenceClassification", "OPTConfig", {"ffn_dim": 48, "word_embed_proj_dim": 32}),
    ("GPTNeoXForSequenceClassification", "GPTNeoXConfig", {}),
    ("MambaForCausalLM", "MambaConfig", {"vocab_size": 8, "state_size": 4, "expand": 2, "conv_kernel": 3}),
)


def _transformers(model: str, config: str, options: dict[str, Any]) -> Made:
    transformers: Any = import_module("transformers")

    made = getattr(transformers, model)(getattr(transformers, config)(**{**TEXT, **options})).eval()
    made.config.use_cache = False
    ids = torch.randint(1, made.config.vocab_size, (N_EXAMPLES, 6))
    if "CausalLM" in model:
        ids = ids[:, :3]
    return Made(made, {"input_ids": ids}, {"select": "logits"}, lambda m, n: m(input_ids=ids[n]).logits)


def _masked_bert() -> Made:
    made = _transformers("BertForSequenceClassification", "BertConfig", {})
    mask = torch.ones_like(made.x["input_ids"])
    mask[1, 4:] = 0
    x = {**made.x, "attention_mask": mask, "token_type_ids": (torch.arange(6) > 2).long().expand(N_EXAMPLES, 6)}
    return Made(
        made.model, x, {"select": "logits"}, lambda m, n: m(**{name: value[n] for name, value in x.items()}).logits
    )


def _hf_vision(model: str, config: str, options: dict[str, Any], side: int = 32) -> Made:
    transformers: Any = import_module("transformers")

    made = getattr(transformers, model)(getattr(transformers, config)(num_labels=N_OUTPUTS, **options)).eval()
    x = torch.randn(N_EXAMPLES, 3, side, side)
    return Made(made, x, {"select": "logits"}, lambda m, n: m(x[n].to(_dtype(m))).logits)


def _vit_pytorch(name: str) -> Made:
    names_of_torchvision()
    vit: Any = import_module(f"vit_pytorch.{name}")
    common: dict[str, Any] = {
        "image_size": 32,
        "patch_size": 8,
        "num_classes": N_OUTPUTS,
        "dim": 32,
        "depth": 2,
        "heads": 4,
        "mlp_dim": 48,
    }
    kind = {"vit": "ViT", "simple_vit": "SimpleViT", "deepvit": "DeepViT", "vit_with_patch_dropout": "ViT"}[name]
    return Made(getattr(vit, kind)(**common).eval(), torch.randn(N_EXAMPLES, 3, 32, 32))


def _x_transformers() -> Made:
    package: Any = import_module("x_transformers")

    net = package.TransformerWrapper(
        num_tokens=4, max_seq_len=8, attn_layers=package.Decoder(dim=32, depth=2, heads=4, rotary_pos_emb=True)
    )
    return Made(net.eval(), torch.randint(0, 4, (N_EXAMPLES, 5)))


def _fno(kind: str) -> Made:
    models: Any = import_module("neuralop.models")

    sizes: dict[str, Any] = {
        "n_modes": (4, 4),
        "in_channels": 1,
        "out_channels": 1,
        "hidden_channels": 8,
        "n_layers": 2,
    }
    return Made(getattr(models, kind)(**sizes).eval(), torch.randn(N_EXAMPLES, 1, 8, 8)[..., :4, :4].contiguous())


def _e3nn() -> Made:
    nn: Any = import_module("e3nn.nn")
    o3: Any = import_module("e3nn.o3")

    irreps = o3.Irreps("4x0e + 2x1o")
    net = torch.nn.Sequential(o3.Linear("2x0e + 1x1o", irreps), nn.NormActivation(irreps, torch.tanh), _Square(irreps))
    return Made(net.eval(), torch.randn(N_EXAMPLES, 5))


class _Square(torch.nn.Module):
    """A tensor product of the features with themselves, to scalars."""

    def __init__(self, irreps: Any) -> None:
        super().__init__()
        o3: Any = import_module("e3nn.o3")

        self.product = o3.FullyConnectedTensorProduct(irreps, irreps, f"{N_OUTPUTS}x0e")

    def forward(self, x: Tensor) -> Tensor:
        return self.product(x, x)


class _OnFixedGraph(torch.nn.Module):
    """A graph network on one graph: the examples are features of its nodes, the output is of the whole graph."""

    def __init__(self, convolutions: list[torch.nn.Module]) -> None:
        super().__init__()
        self.convolutions = torch.nn.ModuleList(convolutions)
        self.head = torch.nn.Linear(8, N_OUTPUTS)
        ring = torch.arange(5)
        self.register_buffer("edges", torch.stack([ring, (ring + 1) % 5]))

    def forward(self, x: Tensor) -> Tensor:
        for convolution in self.convolutions:
            x = torch.tanh(convolution(x, self.edges))
        return self.head(x.mean(dim=-2))


def _graph(kind: str) -> Made:
    nn: Any = import_module("torch_geometric.nn")

    convolutions = [getattr(nn, kind)(4, 8), getattr(nn, kind)(8, 8)]
    return Made(_OnFixedGraph(convolutions).eval(), torch.randn(N_EXAMPLES, 5, 4))


def _siren() -> Made:
    package: Any = import_module("siren_pytorch")

    return Made(
        package.SirenNet(dim_in=2, dim_hidden=64, dim_out=3, num_layers=3, w0_initial=30.0),
        torch.rand(N_EXAMPLES, 2) * 2 - 1,
    )


class _Flow(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.net = torch.nn.Sequential(torch.nn.Linear(4, 16), torch.nn.Tanh(), torch.nn.Linear(16, 4))

    def forward(self, t: Tensor, y: Tensor) -> Tensor:
        return self.net(y)


class _Ode(torch.nn.Module):
    def __init__(self, adjoint: bool) -> None:
        super().__init__()
        self.flow, self.head, self.adjoint = _Flow(), torch.nn.Linear(4, N_OUTPUTS), adjoint

    def forward(self, x: Tensor) -> Tensor:
        torchdiffeq: Any = import_module("torchdiffeq")

        solve = torchdiffeq.odeint_adjoint if self.adjoint else torchdiffeq.odeint
        times = torch.linspace(0.0, 1.0, 4, dtype=x.dtype)
        return self.head(solve(self.flow, x, times, method="rk4")[-1])


def _ode(adjoint: bool) -> Made:
    return Made(_Ode(adjoint), torch.randn(N_EXAMPLES, 4))


def _diffusers_unet() -> Made:
    package: Any = import_module("diffusers")

    net = package.UNet2DModel(
        sample_size=8,
        in_channels=1,
        out_channels=1,
        block_out_channels=(8, 16),
        layers_per_block=1,
        norm_num_groups=4,
        down_block_types=("DownBlock2D", "AttnDownBlock2D"),
        up_block_types=("AttnUpBlock2D", "UpBlock2D"),
        attention_head_dim=4,
    ).eval()
    x = {"sample": torch.randn(N_EXAMPLES, 1, 4, 4), "timestep": torch.tensor([1, 10, 100])}
    return Made(net, x, {"select": "sample"}, lambda m, n: m(x["sample"][n].to(_dtype(m)), x["timestep"][n]).sample)


def _dtype(model: torch.nn.Module) -> torch.dtype:
    return next(p.dtype for p in model.parameters() if not p.is_complex())


def _entry(name: str, package: str, make: Callable[[], Made]) -> Entry:
    return Entry(name, package, "torch", make)


ENTRIES: tuple[Entry, ...] = (
    *(_entry(name, "timm", partial(_timm, name, options, side)) for name, options, side in TIMM),
    *(
        _entry(
            model.removesuffix("ForSequenceClassification"),
            "transformers",
            partial(_transformers, model, config, options),
        )
        for model, config, options in TRANSFORMERS
    ),
    _entry("Bert, mask and token types", "transformers", _masked_bert),
    _entry(
        "ViT",
        "transformers",
        partial(
            _hf_vision,
            "ViTForImageClassification",
            "ViTConfig",
            {
                "image_size": 32,
                "patch_size": 8,
                "hidden_size": 32,
                "num_hidden_layers": 2,
                "num_attention_heads": 4,
                "intermediate_size": 48,
            },
        ),
    ),
    _entry(
        "Swin",
        "transformers",
        partial(
            _hf_vision,
            "SwinForImageClassification",
            "SwinConfig",
            {
                "image_size": 32,
                "patch_size": 2,
                "embed_dim": 16,
                "depths": [2, 2],
                "num_heads": [2, 4],
                "window_size": 4,
            },
        ),
    ),
    *(_entry(name, "vit-pytorch", partial(_vit_pytorch, name)) for name in ("vit", "simple_vit", "deepvit")),
    _entry("decoder with rotary positions", "x-transformers", _x_transformers),
    *(_entry(kind, "neuraloperator", partial(_fno, kind)) for kind in ("FNO", "TFNO")),
    _entry("tensor product", "e3nn", _e3nn),
    *(
        _entry(kind, "torch-geometric", partial(_graph, kind))
        for kind in ("GCNConv", "SAGEConv", "GraphConv", "TAGConv")
    ),
    _entry("SIREN", "siren-pytorch", _siren),
    _entry("neural ODE", "torchdiffeq", partial(_ode, False)),
    _entry("neural ODE, adjoint", "torchdiffeq", partial(_ode, True)),
    _entry("U-Net with attention", "diffusers", _diffusers_unet),
)

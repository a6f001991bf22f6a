"""Shapes of published models, for planning: no manifests, since no file of theirs was digested.

Each is what stands in the model's own config.json on Hugging Face, as named in `source`. Tests
compute the parameters from the shape and compare them with the model card's.
"""

from types import MappingProxyType
from typing import Final, NamedTuple

from garage_ai.catalog.shapes import Linear, Shape


class Known(NamedTuple):
    """A published model: its shape, whence it is known, and in what forms it is usually had."""

    shape: Shape
    source: str
    published: float
    quantisations: tuple[str, ...] = ("bf16", "fp8", "int4", "Q8_0", "Q4_K_M")


def _qwen25(
    size: str, billions: float, *, layers: int, hidden: int, heads: int, keys: int, inner: int
) -> Known:
    shape = Shape(
        name=f"Qwen2.5-{size}-Instruct",
        layers=layers,
        hidden=hidden,
        heads=heads,
        kv_heads=keys,
        head_dim=128,
        vocabulary=152_064,
        context=32_768,
        intermediate=inner,
        biased=True,
    )
    return Known(shape, f"huggingface.co/Qwen/Qwen2.5-{size}-Instruct", billions)


def _qwen3(
    size: str, billions: float, *, layers: int, hidden: int, heads: int, keys: int, inner: int
) -> Known:
    shape = Shape(
        name=f"Qwen3-{size}",
        layers=layers,
        hidden=hidden,
        heads=heads,
        kv_heads=keys,
        head_dim=128,
        vocabulary=151_936,
        context=40_960,
        intermediate=inner,
    )
    return Known(shape, f"huggingface.co/Qwen/Qwen3-{size}", billions)


_MODELS: Final = (
    Known(
        Shape(
            name="Qwen3-Next-80B-A3B-Instruct",
            layers=48,
            hidden=2048,
            heads=16,
            kv_heads=2,
            head_dim=256,
            vocabulary=151_936,
            context=262_144,
            gated=True,
            experts=512,
            experts_used=10,
            expert_intermediate=512,
            shared=512,
            linear=Linear(
                layers=36, key_heads=16, value_heads=32, key_dim=128, value_dim=128, kernel=4
            ),
        ),
        "huggingface.co/Qwen/Qwen3-Next-80B-A3B-Instruct; transformers, Qwen3NextConfig",
        80.0,
        # Its makers of four bits leave attention and the shared expert at sixteen.
        ("bf16", "fp8", "int4-experts", "Q8_0", "Q4_K_M"),
    ),
    _qwen25("32B", 32.5, layers=64, hidden=5120, heads=40, keys=8, inner=27_648),
    _qwen3("32B", 32.8, layers=64, hidden=5120, heads=64, keys=8, inner=25_600),
    Known(
        Shape(
            name="Qwen3-30B-A3B",
            layers=48,
            hidden=2048,
            heads=32,
            kv_heads=4,
            head_dim=128,
            vocabulary=151_936,
            context=40_960,
            experts=128,
            experts_used=8,
            expert_intermediate=768,
        ),
        "huggingface.co/Qwen/Qwen3-30B-A3B",
        30.5,
    ),
    Known(
        Shape(
            name="gpt-oss-20b",
            layers=24,
            hidden=2880,
            heads=64,
            kv_heads=8,
            head_dim=64,
            vocabulary=201_088,
            context=131_072,
            biased=True,
            experts=32,
            experts_used=4,
            expert_intermediate=2880,
            windowed=12,
            window=128,
        ),
        "huggingface.co/openai/gpt-oss-20b; model card, arXiv 2508.10925",
        20.9,
        # Published in this form alone.
        ("mxfp4",),
    ),
    _qwen25("14B", 14.7, layers=48, hidden=5120, heads=40, keys=8, inner=13_824),
    _qwen3("14B", 14.8, layers=40, hidden=5120, heads=40, keys=8, inner=17_408),
    Known(
        Shape(
            name="Mistral-Nemo-Instruct-2407",
            layers=40,
            hidden=5120,
            heads=32,
            kv_heads=8,
            head_dim=128,
            vocabulary=131_072,
            context=131_072,
            intermediate=14_336,
        ),
        "huggingface.co/mistralai/Mistral-Nemo-Instruct-2407",
        12.2,
    ),
    Known(
        Shape(
            name="Llama-3.1-8B-Instruct",
            layers=32,
            hidden=4096,
            heads=32,
            kv_heads=8,
            head_dim=128,
            vocabulary=128_256,
            context=131_072,
            intermediate=14_336,
        ),
        "huggingface.co/meta-llama/Llama-3.1-8B-Instruct",
        8.03,
    ),
    _qwen25("7B", 7.61, layers=28, hidden=3584, heads=28, keys=4, inner=18_944),
    Known(
        Shape(
            name="Mistral-7B-Instruct-v0.3",
            layers=32,
            hidden=4096,
            heads=32,
            kv_heads=8,
            head_dim=128,
            vocabulary=32_768,
            context=32_768,
            intermediate=14_336,
        ),
        "huggingface.co/mistralai/Mistral-7B-Instruct-v0.3",
        7.25,
    ),
)

KNOWN: Final = MappingProxyType({known.shape.name: known for known in _MODELS})
"""All of them by name, the largest first."""


__all__ = ["KNOWN", "Known"]

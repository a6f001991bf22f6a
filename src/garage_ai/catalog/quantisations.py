"""How many bits a weight takes, by the form a model comes in. Pure."""

import math
from types import MappingProxyType
from typing import Final, Literal, NamedTuple

from garage_ai.catalog.shapes import Shape

Planned = Literal["vllm", "llamacpp"]


class Quantisation(NamedTuple):
    """Bits of a weight in attention, in feed-forward parts, in experts, and in table and head.

    `compute` is the oldest generation of cards that runs it. `block`: a feed-forward width that is
    cut among cards must stay a multiple of it, or the engine has no fast kernel for the part, and
    for `fp8` none at all. `tied`: the table is the head too, so who has both ends has it once.
    """

    name: str
    engine: Planned
    attention: float
    dense: float
    experts: float
    outer: float
    compute: tuple[int, int]
    source: str
    block: int = 1
    tied: bool = False

    def weights(self, shape: Shape, ends: int = 2) -> int:
        """Give the memory of all weights, in bytes; of table and head only so many."""
        outer = min(ends, 1) if self.tied else ends
        bits = self.attention * shape.attention + self.dense * shape.dense
        bits += self.experts * shape.expert + self.outer * outer * shape.embedding
        return math.ceil(bits / 8)

    def read_for_a_token(self, shape: Shape) -> int:
        """Give the bytes of weights that making one token reads: of the table only its own row."""
        return self.read_for_a_step(shape, 1)

    def read_for_a_step(self, shape: Shape, sequences: int, *, head: bool = True) -> int:
        """Give the bytes of weights that making one token of each of so many sequences reads.

        Each asks for experts of its own, and some for the same ones.
        """
        bits = self.attention * shape.attention + self.dense * shape.dense
        if shape.experts:
            unused = (1 - shape.experts_used / shape.experts) ** sequences
            bits += self.experts * shape.expert * (1 - unused)
        if head:
            bits += self.outer * shape.embedding
        return round(bits / 8)


# Groups of 128 weights share a scale of 16 bits and a zero point of 4 (AutoAWQ, GPTQ).
_INT4: Final = 4 + (16 + 4) / 128
# Groups of 32 with a scale alone: vLLM takes experts only where the zero point is fixed.
_INT4_OF_32: Final = 4 + 16 / 32
# Blocks of 32 weights share a scale of 8 bits (OCP Microscaling Formats, 1.0).
_MXFP4: Final = 4 + 8 / 32
_LLAMA_TABLE: Final = "llama.cpp, tools/quantize/README.md: bits/weight of Llama-3.1-8B"

_ALL: Final = (
    Quantisation("bf16", "vllm", 16, 16, 16, 16, (8, 0), "two bytes"),
    Quantisation(
        "fp8", "vllm", 8, 8, 8, 16, (8, 0), "vLLM, quantization/fp8: layers, not the head", 128
    ),
    Quantisation("Q8_0", "llamacpp", 8.5008, 8.5008, 8.5008, 8.5008, (6, 1), _LLAMA_TABLE),
    Quantisation("Q4_K_M", "llamacpp", 4.8944, 4.8944, 4.8944, 4.8944, (6, 1), _LLAMA_TABLE),
    Quantisation(
        "int4-experts",
        "vllm",
        16,
        16,
        _INT4_OF_32,
        16,
        (8, 0),
        "huggingface.co/btbtyler09/Qwen3-Coder-Next-GPTQ-4bit, cyankiwi's AWQ of Qwen3-Next: "
        "experts alone, groups of 32",
        64,
    ),
    Quantisation(
        "int4", "vllm", _INT4, _INT4, _INT4, 16, (7, 5), "AWQ and GPTQ, groups of 128", 128
    ),
    Quantisation(
        "mxfp4", "vllm", 16, 16, _MXFP4, 16, (8, 0), "gpt-oss model card: experts in MXFP4"
    ),
)

QUANTISATIONS: Final = MappingProxyType({each.name: each for each in _ALL})
"""All forms by name, from many bits to few."""


__all__ = ["QUANTISATIONS", "Planned", "Quantisation"]

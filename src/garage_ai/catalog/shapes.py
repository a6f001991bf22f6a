"""What a model is built of: enough of its config to say what it needs in memory. Pure."""

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Final

_BF16: Final = 2
_FLOAT32: Final = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Linear:
    """Layers whose attention keeps a state of fixed size (gated delta net) instead of all keys."""

    layers: int
    key_heads: int
    value_heads: int
    key_dim: int
    value_dim: int
    kernel: int

    @property
    def key_width(self) -> int:
        """Numbers in one token's keys."""
        return self.key_heads * self.key_dim

    @property
    def value_width(self) -> int:
        """Numbers in one token's values."""
        return self.value_heads * self.value_dim

    def parameters(self, hidden: int) -> int:
        """Weights of one layer: projections in and out, gates, convolution."""
        inward = hidden * 2 * (self.key_width + self.value_width)
        gates = hidden * 2 * self.value_heads
        convolution = (2 * self.key_width + self.value_width) * self.kernel
        return inward + gates + convolution + self.value_width * hidden

    @property
    def state_bytes(self) -> int:
        """Memory of one sequence in one layer, however long it is."""
        convolution = (2 * self.key_width + self.value_width) * (self.kernel - 1) * _BF16
        return convolution + self.value_heads * self.key_dim * self.value_dim * _FLOAT32


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """A model by the names of its config.json; `context` is the longest it was trained for.

    `windowed` of the layers look back only `window` tokens. Of `experts` a token uses
    `experts_used`, beside what is `shared`. `gated`: queries come with a gate of the same size.
    """

    name: str
    layers: int
    hidden: int
    heads: int
    kv_heads: int
    head_dim: int
    vocabulary: int
    context: int
    intermediate: int = 0
    biased: bool = False
    gated: bool = False
    experts: int = 0
    experts_used: int = 0
    expert_intermediate: int = 0
    shared: int = 0
    windowed: int = 0
    window: int = 0
    linear: Linear | None = None

    @property
    def linear_layers(self) -> int:
        """Layers that keep no keys."""
        return self.linear.layers if self.linear else 0

    @property
    def attention(self) -> int:
        """Weights of attention in all layers."""
        queries = self.heads * self.head_dim
        keys = self.kv_heads * self.head_dim
        layer = self.hidden * (queries * (3 if self.gated else 2) + 2 * keys)
        layer += (queries + 2 * keys) if self.biased else 0
        linear = self.linear.parameters(self.hidden) * self.linear.layers if self.linear else 0
        return layer * (self.layers - self.linear_layers) + linear

    @property
    def dense(self) -> int:
        """Weights of feed-forward parts that every token goes through, routers among them."""
        layer = 3 * self.hidden * (self.intermediate + self.shared)
        layer += self.hidden * self.experts
        return layer * self.layers

    @property
    def expert(self) -> int:
        """Weights of all experts in all layers."""
        return self.experts * 3 * self.hidden * self.expert_intermediate * self.layers

    @property
    def expert_active(self) -> int:
        """Weights of the experts that one token uses."""
        return self.expert * self.experts_used // self.experts if self.experts else 0

    @property
    def embedding(self) -> int:
        """Weights of the table of tokens; the head over it is as large."""
        return self.vocabulary * self.hidden

    @property
    def parameters(self) -> int:
        """All weights."""
        return self.attention + self.dense + self.expert + 2 * self.embedding

    def part(self, count: int) -> "Shape":
        """Give what one of so many equal parts of every layer holds, as vLLM cuts them.

        Routers are whole in every part, and so is a key head where there are fewer than parts.
        """
        linear = self.linear and replace(
            self.linear,
            key_heads=self.linear.key_heads // count,
            value_heads=self.linear.value_heads // count,
        )
        return replace(
            self,
            heads=self.heads // count,
            kv_heads=max(1, self.kv_heads // count),
            vocabulary=math.ceil(self.vocabulary / count),
            intermediate=math.ceil(self.intermediate / count),
            expert_intermediate=math.ceil(self.expert_intermediate / count),
            shared=math.ceil(self.shared / count),
            linear=linear,
        )

    def runs(self, layers: int) -> Iterator["Shape"]:
        """Give what so many neighbouring layers may be.

        Kinds of layers alternate at equal intervals, so that there are two mixes at most.
        """
        windowed = self.windowed and layers * self.windowed / self.layers
        linear = layers * self.linear_layers / self.layers
        for rounded in (math.floor, math.ceil):
            yield replace(
                self,
                layers=layers,
                windowed=rounded(windowed),
                linear=self.linear and replace(self.linear, layers=rounded(linear)),
            )

    def cache_bytes(self, context: int, bytes_each: float = _BF16) -> int:
        """Memory of one sequence of so many tokens: keys, values, and states of fixed size."""
        token = math.ceil(2 * self.kv_heads * self.head_dim * bytes_each)
        whole = self.layers - self.linear_layers - self.windowed
        kept = whole * context + self.windowed * min(context, self.window)
        states = self.linear.state_bytes * self.linear.layers if self.linear else 0
        return token * kept + states


__all__ = ["Linear", "Shape"]

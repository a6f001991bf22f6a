"""What a GGUF file needs of a card: its shape, and how heavy each layer is, by its header. Pure.

Names of keys after llama.cpp, src/llama-arch.cpp; how layers with a window are told after
`load_swa_pattern` in src/models. What is not known here counts as full attention, which is more.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from garage_ai.catalog.errors import GgufInvalid
from garage_ai.catalog.gguf import GgufHeader
from garage_ai.catalog.shapes import Linear, Shape

_LAYER: Final = re.compile(r"blk\.([0-9]{1,9})\.")
_MOST_LAYERS: Final = 4096
_MOST: Final = 1 << 32
_INPUT: Final = "token_embd.weight"
_OF_LAYERS: Final = "per_layer_token_embd.weight"
"""A table for each layer beside the input's (Gemma 3n and 4), half of a small model's weights.
llama.cpp counts it to the input (llama-arch.cpp), which no card is given."""

_OUTPUT: Final = "output.weight"
_TOKENS: Final = "tokenizer.ggml.tokens"

_PATTERNS: Final[Mapping[str, int]] = {"gemma2": 2, "gemma3": 6, "gpt-oss": 2, "cohere2": 4}
"""Every so many-th layer looks back all the way, the others only over a window."""

_RECURRENT: Final = 4
"""The same for layers with a state in place of keys, where the file does not say (Qwen3-Next)."""


@dataclass(frozen=True, slots=True)
class Burden:
    """Bytes of a file's weights: of each layer, of the tables of tokens, and of all at the end.

    The tables stay in the PC's memory; what is at the end goes to the card first.
    """

    layers: tuple[int, ...]
    table: int
    output: int

    @property
    def whole(self) -> int:
        """What all layers and the end take on cards."""
        return sum(self.layers) + self.output


def shape_of(header: GgufHeader, name: str) -> Shape:
    """Read a model's shape from its file. Raises: GgufInvalid where the header does not tell."""
    keys = _Keys(header)
    layers = keys.need("block_count", most=_MOST_LAYERS)
    hidden = keys.need("embedding_length")
    heads = max(keys.each("attention.head_count", layers) or [1])
    linear = _linear(keys, layers)
    kept = [count for count in keys.each("attention.head_count_kv", layers) or [heads] if count]
    head_dim = keys.get("attention.key_length") or hidden // max(heads, 1)
    window, windowed = _windows(keys, layers)
    return Shape(
        name=name,
        layers=layers,
        hidden=hidden,
        heads=max(heads, 1),
        # Layers with fewer count as the one with most.
        kv_heads=max(kept or [1]),
        head_dim=(head_dim + (keys.get("attention.value_length") or head_dim) + 1) // 2,
        vocabulary=keys.get("vocab_size") or header.lengths.get(_TOKENS, 0),
        context=keys.need("context_length"),
        intermediate=max(keys.each("feed_forward_length", layers) or [0]),
        experts=keys.get("expert_count"),
        experts_used=keys.get("expert_used_count"),
        expert_intermediate=keys.get("expert_feed_forward_length"),
        windowed=min(windowed, layers - (linear.layers if linear else 0)),
        window=window,
        linear=linear,
    )


def burden_of(header: GgufHeader, size: int) -> Burden:
    """Say how heavy the parts of a model are; `size` is that of all its files.

    A model in several files tells only of its first: then the layers are taken as equal.
    Raises: GgufInvalid.
    """
    count = _Keys(header).need("block_count", most=_MOST_LAYERS)
    layers = [0] * count
    ends = 0
    for tensor, weight in header.tensors.items():
        layer = _LAYER.match(tensor)
        if layer is None:
            ends += weight if tensor not in (_INPUT, _OF_LAYERS) else 0
        elif int(layer[1]) < count:
            layers[int(layer[1])] += weight
    table = header.tensors.get(_INPUT, 0)
    if header.values.get("split.count", 1) not in (0, 1) or not all(layers):
        each = -(-size // (count + 1))
        return Burden((each,) * count, table, each)
    # A table that is used at both ends is there twice: the card has a copy of its own.
    ends += 0 if _OUTPUT in header.tensors else table
    return Burden(tuple(layers), table + header.tensors.get(_OF_LAYERS, 0), ends)


class _Keys:
    """The keys that belong to the file's own architecture."""

    def __init__(self, header: GgufHeader) -> None:
        self._header = header
        self.architecture = header.architecture

    def get(self, key: str) -> int:
        """Give a whole number; 0 where there is none, and for what cannot be."""
        value = self._header.number(f"{self.architecture}.{key}") or 0
        return value if 0 < value < _MOST else 0

    def need(self, key: str, most: int = _MOST) -> int:
        """Give a number that must be there. Raises: GgufInvalid."""
        value = self.get(key)
        if not 0 < value <= most:
            raise GgufInvalid(f"the header has no usable {self.architecture}.{key}")
        return value

    def each(self, key: str, layers: int) -> list[int]:
        """Give a number for each layer, from an array or from one for all; empty without."""
        array = self._header.arrays.get(f"{self.architecture}.{key}")
        if array is not None:
            return [value if 0 <= value < _MOST else 0 for value in array[:layers]]
        value = self.get(key)
        return [value] * layers if value else []


def _windows(keys: _Keys, layers: int) -> tuple[int, int]:
    """Give the window in tokens and how many layers have it."""
    window = keys.get("attention.sliding_window")
    if not window:
        return 0, 0
    told = keys.each("attention.sliding_window_pattern", layers)
    if len(set(told)) > 1:
        return window, sum(1 for each in told if each)
    pattern = (told[0] if told and told[0] > 1 else 0) or _PATTERNS.get(keys.architecture, 0)
    return (window, layers - layers // pattern) if pattern else (0, 0)


def _linear(keys: _Keys, layers: int) -> Linear | None:
    """Read of layers that keep a state of fixed size."""
    inner, state = keys.get("ssm.inner_size"), keys.get("ssm.state_size")
    if not inner or not state:
        return None
    interval = keys.get("full_attention_interval") or _RECURRENT
    heads = keys.get("ssm.time_step_rank") or max(1, inner // state)
    return Linear(
        layers=layers - layers // interval,
        key_heads=keys.get("ssm.group_count") or 1,
        value_heads=heads,
        key_dim=state,
        value_dim=max(1, inner // heads),
        kernel=keys.get("ssm.conv_kernel") or 1,
    )


__all__ = ["Burden", "burden_of", "shape_of"]

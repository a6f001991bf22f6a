"""What the weights in a model's files take, part by part: the form that really runs.

A published form (`QUANTISATIONS`) is what is usual; the files say what is so. Their headers alone
are read. What cannot be told apart is spread over all layers, and nothing is left out.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final, NamedTuple

from garage_ai.catalog.errors import FolderInvalid
from garage_ai.catalog.local_folder import read_index
from garage_ai.catalog.quantisations import Quantisation
from garage_ai.catalog.safetensors import Tensor, read_tensors
from garage_ai.catalog.shapes import Shape

_WEIGHTS: Final = ".safetensors"
_HALF: Final = 16
"""Bits of a number that is not quantised, however its file keeps it: it is loaded as half."""

_BITS: Final = {"F64": 64, "F32": 32, "F8_E4M3": 8, "F8_E5M2": 8}
_TABLE: Final = "embed_tokens"
_HEAD: Final = "lm_head"
_EXPERTS: Final = "experts"


class Weights(NamedTuple):
    """Bytes of each part of a model, as the engine loads them.

    `head` is 0 where the table is the head too, `table` where nothing is called one. `dense` is all
    the rest.
    """

    table: int = 0
    head: int = 0
    attention: int = 0
    experts: int = 0
    dense: int = 0


NO_WEIGHTS: Final = Weights()


def read_folder_weights(files: Mapping[str, Path], *, quantised: bool) -> Weights:
    """Read what a model's files hold, given by their paths in its folder.

    Only those that the engine loads: beside the configuration and, where there is an index, named
    by it. Raises: FolderInvalid.
    """
    named = read_index(files)
    loaded = [
        files[name]
        for name in sorted(files)
        if name.endswith(_WEIGHTS) and "/" not in name and (named is None or name in named)
    ]
    if not loaded:
        raise FolderInvalid(f"no weights as {_WEIGHTS} files")
    return weigh((each for path in loaded for each in read_tensors(path).items()), quantised)


def weigh(tensors: Iterator[tuple[str, Tensor]], quantised: bool) -> Weights:
    """Sum tensors up by the parts that their names tell."""
    sums = dict.fromkeys(Weights._fields, 0)
    for name, tensor in tensors:
        stored = _HALF if quantised else _BITS.get(tensor.dtype, _HALF)
        sums[_part(name)] += tensor.size * _HALF // stored
    return Weights(**sums)


def _part(name: str) -> str:
    words = name.split(".")
    if _TABLE in words:
        return "table"
    if _HEAD in words:
        return "head"
    if _EXPERTS in words:
        return "experts"
    return "attention" if any("attn" in word for word in words) else "dense"


def form_of(
    name: str, weights: Weights, shape: Shape, compute: tuple[int, int], block: int
) -> Quantisation:
    """Give the form of a model with this shape, by what its files hold."""
    pairs = [
        (weights.attention, shape.attention),
        (weights.dense, shape.dense),
        (weights.experts, shape.expert),
    ]
    spread = sum(size for size, _ in pairs)
    outer = _bits(max(weights.table, weights.head), shape.embedding)
    if not weights.table:
        # By another name its bytes are among the rest: it counts twice, and as not quantised.
        outer = max(outer, _HALF)
    if not weights.table or any((size > 0) != (numbers > 0) for size, numbers in pairs):
        mean = _bits(spread, sum(numbers for _, numbers in pairs))
        attention = dense = experts = mean
    else:
        attention, dense, experts = (_bits(*pair) for pair in pairs)
    return Quantisation(
        name,
        "vllm",
        attention,
        dense,
        experts,
        outer,
        compute,
        "its own files",
        block,
        tied=bool(weights.table) and not weights.head,
    )


def _bits(size: int, numbers: int) -> float:
    return 8 * size / numbers if numbers > 0 else 0.0


__all__ = ["NO_WEIGHTS", "Weights", "form_of", "read_folder_weights", "weigh"]

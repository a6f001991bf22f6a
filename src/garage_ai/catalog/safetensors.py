"""Read what a safetensors file says of itself, without its weights.

Eight bytes of length, little-endian, then JSON: for each tensor its type, shape and place
(https://github.com/huggingface/safetensors, "Format").
"""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Final

import msgspec

from garage_ai.catalog.errors import FolderInvalid

MAX_HEADER: Final = 100_000_000
"""The format's own limit, in bytes."""

_Axis = Annotated[int, msgspec.Meta(ge=0, le=2**40)]
_Offset = Annotated[int, msgspec.Meta(ge=0, le=2**60)]


class _Shaped(msgspec.Struct):
    shape: Annotated[tuple[_Axis, ...], msgspec.Meta(max_length=16)]


class Tensor(msgspec.Struct, frozen=True):
    """The type of a tensor's numbers, by the format's own names, and where it lies in its file."""

    dtype: Annotated[str, msgspec.Meta(max_length=32)]
    data_offsets: tuple[_Offset, _Offset]

    @property
    def size(self) -> int:
        """Bytes."""
        return self.data_offsets[1] - self.data_offsets[0]


_headers: Final = msgspec.json.Decoder(dict[str, msgspec.Raw])
_shapes: Final = msgspec.json.Decoder(_Shaped)
_tensors: Final = msgspec.json.Decoder(Tensor)


def count_parameters(path: Path) -> int:
    """Count the numbers in a file; packed ones of a quantised model count once for each pack.

    Raises FolderInvalid when it is no safetensors file or is cut short.
    """
    try:
        header, _ = _header(path)
        return sum(math.prod(_shapes.decode(raw).shape) for raw in header.values())
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise FolderInvalid(f"{path.name} has a header that cannot be read") from error


def read_tensors(path: Path) -> Mapping[str, Tensor]:
    """Read where the tensors of a file lie, by their names.

    Raises FolderInvalid when it is no safetensors file, or its tensors are not all of its bytes.
    """
    try:
        header, length = _header(path)
        tensors = {name: _tensors.decode(raw) for name, raw in header.items()}
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise FolderInvalid(f"{path.name} has a header that cannot be read") from error
    end = 0
    # The format allows no holes and no overlaps.
    for tensor in sorted(tensors.values(), key=lambda each: each.data_offsets):
        if tensor.data_offsets[0] != end or tensor.size < 0:
            raise FolderInvalid(f"{path.name} has tensors that lie in no order")
        end += tensor.size
    if end != length:
        raise FolderInvalid(f"{path.name} holds {length} bytes, and its tensors {end}")
    return tensors


def _header(path: Path) -> tuple[dict[str, msgspec.Raw], int]:
    """Give the header, tensor by tensor, and the bytes that come after it."""
    try:
        with path.open("rb") as file:
            size = path.stat().st_size - 8
            length = int.from_bytes(file.read(8), "little")
            if not 2 <= length <= min(MAX_HEADER, size):
                raise FolderInvalid(f"{path.name} is no safetensors file, or cut short")
            header = _headers.decode(file.read(length))
    except OSError as error:
        raise FolderInvalid(f"{path} cannot be read: {error.strerror}") from error
    header.pop("__metadata__", None)
    return header, size - length


__all__ = ["MAX_HEADER", "Tensor", "count_parameters", "read_tensors"]

"""Read what a safetensors file says of itself, without its weights.

Eight bytes of length, little-endian, then JSON: for each tensor its type, shape and place
(https://github.com/huggingface/safetensors, "Format").
"""

import math
from pathlib import Path
from typing import Annotated, Final

import msgspec

from garage_ai.catalog.errors import FolderInvalid

MAX_HEADER: Final = 100_000_000
"""The format's own limit, in bytes."""

_Axis = Annotated[int, msgspec.Meta(ge=0, le=2**40)]


class _Tensor(msgspec.Struct):
    shape: Annotated[tuple[_Axis, ...], msgspec.Meta(max_length=16)]


_headers: Final = msgspec.json.Decoder(dict[str, msgspec.Raw])
_tensors: Final = msgspec.json.Decoder(_Tensor)


def count_parameters(path: Path) -> int:
    """Count the numbers in a file; packed ones of a quantised model count once for each pack.

    Raises FolderInvalid when it is no safetensors file or is cut short.
    """
    try:
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            if not 2 <= length <= min(MAX_HEADER, path.stat().st_size - 8):
                raise FolderInvalid(f"{path.name} is no safetensors file, or cut short")
            header = _headers.decode(file.read(length))
        header.pop("__metadata__", None)
        return sum(math.prod(_tensors.decode(raw).shape) for raw in header.values())
    except OSError as error:
        raise FolderInvalid(f"{path} cannot be read: {error.strerror}") from error
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise FolderInvalid(f"{path.name} has a header that cannot be read") from error

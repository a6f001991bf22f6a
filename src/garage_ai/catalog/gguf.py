"""Read the header of a GGUF file: what the model is, without its weights.

Layout after the GGUF specification (ggml, docs/gguf.md): magic, version, two counts, then
typed key-value pairs, then one description of each tensor. The file may come from anyone,
so every length is checked against what is left before it is believed.
"""

import hashlib
import struct
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from garage_ai.catalog.digests import Digest, canonical_json, digest_of_bytes
from garage_ai.catalog.errors import GgufInvalid

Scalar = str | int | float | bool
Entries = tuple[str, ...] | tuple[int, ...]

# The largest tokenizers in use take about 20 MB; no header needs more than this.
MAX_HEADER_BYTES = 128 * 1024 * 1024
_MAX_KEYS = 10_000
_MAX_TENSORS = 1_000_000
_MAX_DIMENSIONS = 8
_MAX_KEY_BYTES = 65_535  # the specification's own limit
_MAX_TEXT_BYTES = 4 * 1024 * 1024
_MAX_ENTRIES = 4_000_000  # five times what the largest vocabulary and its merges have
_MAX_DEPTH = 4  # arrays of arrays exist, deeper ones do not
_MAX_PARAMETERS = 2**53
_MAX_KEPT = 1024  # entries of an array that is kept: one for each layer, at most
_ALIGNMENT = 32  # unless the file says another

# Weights of a block and its bytes, by how a tensor is stored (ggml, gguf-py, constants.py).
_BLOCKS: Mapping[int, tuple[int, int]] = {
    0: (1, 4),  # F32
    1: (1, 2),  # F16
    2: (32, 18),  # Q4_0
    3: (32, 20),
    6: (32, 22),  # Q5_0
    7: (32, 24),
    8: (32, 34),  # Q8_0
    9: (32, 40),
    10: (256, 84),  # Q2_K
    11: (256, 110),
    12: (256, 144),
    13: (256, 176),
    14: (256, 210),  # Q6_K
    15: (256, 292),
    16: (256, 66),  # IQ2_XXS
    17: (256, 74),
    18: (256, 98),
    19: (256, 50),
    20: (32, 18),
    21: (256, 110),
    22: (256, 82),
    23: (256, 136),  # IQ4_XS
    24: (1, 1),  # I8
    25: (1, 2),
    26: (1, 4),
    27: (1, 8),
    28: (1, 8),  # F64
    29: (256, 56),  # IQ1_M
    30: (1, 2),  # BF16
    34: (256, 54),  # TQ1_0
    35: (256, 66),
    39: (32, 17),  # MXFP4
}

_TEXT, _ARRAY, _BOOL = 8, 9, 7
_U32, _U64 = struct.Struct("<I"), struct.Struct("<Q")
_SCALARS: Mapping[int, struct.Struct] = {
    kind: struct.Struct("<" + code)
    for kind, code in enumerate(["B", "b", "H", "h", "I", "i", "f", "B", "", "", "Q", "q", "d"])
    if code
}
_FLOATS = (6, 12)
_TEMPLATE = "tokenizer.chat_template"

# `general.file_type` as llama.cpp numbers it.
_QUANTISATIONS: Mapping[int, str] = {
    0: "F32",
    1: "F16",
    2: "Q4_0",
    3: "Q4_1",
    7: "Q8_0",
    8: "Q5_0",
    9: "Q5_1",
    10: "Q2_K",
    11: "Q3_K_S",
    12: "Q3_K_M",
    13: "Q3_K_L",
    14: "Q4_K_S",
    15: "Q4_K_M",
    16: "Q5_K_S",
    17: "Q5_K_M",
    18: "Q6_K",
    19: "IQ2_XXS",
    20: "IQ2_XS",
    21: "Q2_K_S",
    22: "IQ3_XS",
    23: "IQ3_XXS",
    24: "IQ1_S",
    25: "IQ4_NL",
    26: "IQ3_S",
    27: "IQ3_M",
    28: "IQ2_S",
    29: "IQ2_M",
    30: "IQ4_XS",
    31: "IQ1_M",
    32: "BF16",
    36: "TQ1_0",
    37: "TQ2_0",
    38: "MXFP4_MOE",
}


@dataclass(frozen=True, slots=True)
class GgufHeader:
    """What a GGUF file says of itself; `values` has its scalars and texts, not its arrays.

    `lengths` counts the entries of each array; `arrays` has those of whole numbers that have one
    for each layer. `tensors` tells the bytes that each takes in this file. `size` is the header's
    own, up to the tensors' data; `kept` has the arrays that were asked for. `whole` is the least
    that a file has which holds all of its tensors.
    """

    values: Mapping[str, Scalar]
    parameters: int
    tokenizer_digest: Digest | None
    arrays: Mapping[str, tuple[int, ...]]
    lengths: Mapping[str, int]
    tensors: Mapping[str, int]
    size: int
    kept: Mapping[str, Entries]
    whole: int

    @property
    def architecture(self) -> str:
        """The architecture's name, such as `llama`."""
        return self.text("general.architecture") or "unknown"

    @property
    def context_length(self) -> int | None:
        """The context the model was trained for, in tokens."""
        return self.number(f"{self.architecture}.context_length")

    @property
    def quantisation(self) -> str:
        """How most of the weights are stored, in llama.cpp's words."""
        number = self.number("general.file_type")
        return "unknown" if number is None else _QUANTISATIONS.get(number, f"type-{number}")

    @property
    def template(self) -> str | None:
        """The chat template, as Jinja."""
        return self.text(_TEMPLATE)

    @property
    def template_digest(self) -> Digest | None:
        """The digest of the chat template's UTF-8 bytes."""
        return None if self.template is None else digest_of_bytes(self.template.encode())

    def text(self, key: str) -> str | None:
        """Return a text, or None when the key is missing or holds something else."""
        value = self.values.get(key)
        return value if isinstance(value, str) else None

    def number(self, key: str) -> int | None:
        """Return an integer, or None when the key is missing or holds something else."""
        value = self.values.get(key)
        return value if isinstance(value, int) and not isinstance(value, bool) else None


def read_gguf(path: Path, keep: Collection[str] = ()) -> GgufHeader:
    """Read the header of the file at `path`, with the arrays of texts or whole numbers in `keep`.

    Raises GgufInvalid.
    """
    try:
        with path.open("rb") as file:
            return parse_gguf(file, path.stat().st_size, keep)
    except GgufInvalid as error:
        raise GgufInvalid(f"{path.name}: {error}") from error
    except OSError as error:
        raise GgufInvalid(f"{path} cannot be read: {error.strerror}") from error


def parse_gguf(file: BinaryIO, size: int, keep: Collection[str] = ()) -> GgufHeader:
    """Read a header from `file`, which holds `size` bytes, with the arrays in `keep`.

    Raises GgufInvalid.
    """
    cursor = _Cursor(file, min(size, MAX_HEADER_BYTES))
    if cursor.take(4) != b"GGUF":
        raise GgufInvalid("this is not a GGUF file")
    version = cursor.number(_U32)
    if version not in (2, 3):
        raise GgufInvalid(f"GGUF version {version} is not one of 2 and 3")
    tensors = cursor.count(_MAX_TENSORS, "tensors")
    keys = cursor.count(_MAX_KEYS, "keys")
    pairs = _Pairs(frozenset(keep))
    _read_values(cursor, keys, pairs)
    digest = digest_of_bytes(canonical_json(pairs.tokenizer)) if pairs.tokenizer else None
    parameters, offsets, data = _read_tensors(cursor, tensors)
    alignment = pairs.values.get("general.alignment", _ALIGNMENT)
    if not isinstance(alignment, int) or not 0 < alignment <= _MAX_KEY_BYTES:
        raise GgufInvalid(f"an alignment of {alignment!r} cannot be")
    start = -(-cursor.taken // alignment) * alignment
    sizes = _sizes(offsets, max(0, size - start))
    return GgufHeader(
        pairs.values,
        parameters,
        digest,
        pairs.arrays,
        pairs.lengths,
        sizes,
        start,
        pairs.kept,
        start + data if data else 0,
    )


@dataclass(frozen=True, slots=True)
class _Pairs:
    """What the key-value pairs hold, while they are read."""

    keep: frozenset[str]
    values: dict[str, Scalar] = field(default_factory=dict)
    arrays: dict[str, tuple[int, ...]] = field(default_factory=dict)
    lengths: dict[str, int] = field(default_factory=dict)
    tokenizer: dict[str, str] = field(default_factory=dict)
    kept: dict[str, Entries] = field(default_factory=dict)


class _Cursor:
    """Reads forward, never past `left` bytes, and digests what it reads."""

    def __init__(self, file: BinaryIO, left: int) -> None:
        self._file = file
        self._entries = _MAX_ENTRIES
        self.left = left
        self.taken = 0
        self.digest = hashlib.sha256()

    def take(self, size: int) -> bytes:
        if size > self.left:
            raise GgufInvalid("the header ends too early")
        data = self._file.read(size)
        if len(data) != size:
            raise GgufInvalid("the file ends too early")
        self.left -= size
        self.taken += size
        self.digest.update(data)
        return data

    def number(self, layout: struct.Struct) -> int:
        value: int = layout.unpack(self.take(layout.size))[0]
        return value

    def count(self, most: int, what: str) -> int:
        value = self.number(_U64)
        if value > most:
            raise GgufInvalid(f"{value} {what} are more than {most}")
        return value

    def text(self, most: int) -> str:
        data = self.take(self.count(most, "bytes of text"))
        try:
            return data.decode()
        except UnicodeDecodeError as error:
            raise GgufInvalid("a text is not UTF-8") from error

    def enter(self, entries: int) -> None:
        """Charge the entries of an array that must be walked one by one."""
        self._entries -= entries
        if self._entries < 0:
            raise GgufInvalid(f"the arrays have more than {_MAX_ENTRIES} entries")


def _read_values(cursor: _Cursor, keys: int, pairs: _Pairs) -> None:
    """Read all pairs; of the tokenizer's arrays only the digest is kept."""
    seen: set[str] = set()
    for _ in range(keys):
        key = cursor.text(_MAX_KEY_BYTES)
        if key in seen:
            raise GgufInvalid(f"the key {key[:80]!r} is there twice")
        seen.add(key)
        cursor.digest = hashlib.sha256()
        kind = cursor.number(_U32)
        if kind == _ARRAY and key in pairs.keep:
            pairs.kept[key] = entries = _read_entries(cursor)
            pairs.lengths[key] = len(entries)
        elif kind == _ARRAY:
            pairs.lengths[key], layers = _read_array(cursor, 0)
            if layers:
                pairs.arrays[key] = layers
        else:
            pairs.values[key] = _scalar(cursor, kind)
        if key.startswith("tokenizer.") and not key.startswith(_TEMPLATE):
            pairs.tokenizer[key] = cursor.digest.hexdigest()


def _scalar(cursor: _Cursor, kind: int) -> Scalar:
    if kind == _TEXT:
        return cursor.text(_MAX_TEXT_BYTES)
    if kind not in _SCALARS:
        raise GgufInvalid(f"value type {kind} is unknown")
    layout = _SCALARS[kind]
    value: int | float = layout.unpack(cursor.take(layout.size))[0]
    return bool(value) if kind == _BOOL else value


def _read_entries(cursor: _Cursor) -> Entries:
    """Read an array of texts or of whole numbers, all of it."""
    kind, length = cursor.number(_U32), cursor.number(_U64)
    cursor.enter(length)
    if kind == _TEXT:
        return tuple([cursor.text(_MAX_TEXT_BYTES) for _ in range(length)])
    if kind not in _SCALARS or kind in _FLOATS:
        raise GgufInvalid(f"an array of type {kind} holds neither texts nor whole numbers")
    layout = _SCALARS[kind]
    data = cursor.take(length * layout.size)
    return tuple([int(entry) for (entry,) in layout.iter_unpack(data)])


def _read_array(cursor: _Cursor, depth: int) -> tuple[int, tuple[int, ...]]:
    """Walk over an array; give its length, and its entries where they are few whole numbers."""
    kind, length = cursor.number(_U32), cursor.number(_U64)
    if kind in _SCALARS:
        layout = _SCALARS[kind]
        data = cursor.take(length * layout.size)
        if length > _MAX_KEPT or kind in _FLOATS:
            return length, ()
        return length, tuple(int(entry) for (entry,) in layout.iter_unpack(data))
    if kind not in (_TEXT, _ARRAY) or depth == _MAX_DEPTH:
        raise GgufInvalid(f"an array of type {kind} is unknown or nested too deep")
    cursor.enter(length)
    for _ in range(length):
        if kind == _TEXT:
            cursor.take(cursor.count(_MAX_TEXT_BYTES, "bytes of text"))
        else:
            _read_array(cursor, depth + 1)
    return length, ()


def _read_tensors(cursor: _Cursor, tensors: int) -> tuple[int, list[tuple[int, str]], int]:
    """Add up the elements of all tensors; give also where each begins, by its name, and all ends.

    One that is stored in a way not known here takes no byte, as far as is told.
    """
    total, offsets, end = 0, list[tuple[int, str]](), 0
    for _ in range(tensors):
        name = cursor.text(_MAX_KEY_BYTES)
        dimensions = cursor.number(_U32)
        if not 1 <= dimensions <= _MAX_DIMENSIONS:
            raise GgufInvalid(f"a tensor has {dimensions} dimensions")
        elements = 1
        for _ in range(dimensions):
            elements *= cursor.number(_U64)
        weights, size = _BLOCKS.get(cursor.number(_U32), (1, 0))
        offset = cursor.number(_U64)
        offsets.append((offset, name))
        end = max(end, offset + -(-elements // weights) * size)
        total += elements
        if total > _MAX_PARAMETERS:
            raise GgufInvalid(f"{total} parameters cannot be")
    return total, offsets, end


def _sizes(offsets: list[tuple[int, str]], end: int) -> dict[str, int]:
    """Give the bytes from each tensor to the next one; those past the end have none."""
    ordered = sorted(offsets)
    ends = [*(offset for offset, _ in ordered), end][1:]
    return {
        name: max(0, min(until, end) - offset)
        for (offset, name), until in zip(ordered, ends, strict=True)
    }


__all__ = ["MAX_HEADER_BYTES", "Entries", "GgufHeader", "Scalar", "parse_gguf", "read_gguf"]

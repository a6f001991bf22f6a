"""GGUF files whose header says something else: real weights, another template or cutting."""

import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Final

TEMPLATE: Final = "tokenizer.chat_template"
PRE: Final = "tokenizer.ggml.pre"
_LENGTH: Final = struct.Struct("<Q")
_ALIGNMENT: Final = 32


def rewritten(source: Path, target: Path, texts: Mapping[str, str]) -> Path:
    """Copy a file with other texts under some keys of its header.

    The template is padded by a comment, so that the weights stay where alignment wants them.
    """
    data = source.read_bytes()
    texts = {TEMPLATE: _value(data, TEMPLATE), **texts}
    grown = sum(len(text.encode()) - len(_value(data, key).encode()) for key, text in texts.items())
    texts[TEMPLATE] += "{#" + "x" * ((-grown - 4) % _ALIGNMENT) + "#}"
    for key, text in texts.items():
        at, old = _place(data, key), _value(data, key).encode()
        new = text.encode()
        data = data[:at] + _LENGTH.pack(len(new)) + new + data[at + _LENGTH.size + len(old) :]
    target.write_bytes(data)
    return target


def _place(data: bytes, key: str) -> int:
    """Give where the length of a key's text stands, behind the key and the value's type."""
    sought = _LENGTH.pack(len(key)) + key.encode()
    return data.index(sought) + len(sought) + 4


def _value(data: bytes, key: str) -> str:
    at = _place(data, key)
    [size] = _LENGTH.unpack_from(data, at)
    return data[at + _LENGTH.size : at + _LENGTH.size + size].decode()

"""The vocabulary that a GGUF file carries in its header: what its engine makes tokens with."""

from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeVar

from garage_ai.catalog.digests import Digest
from garage_ai.catalog.errors import GgufInvalid
from garage_ai.catalog.gguf import Entries, GgufHeader, read_gguf

_TOKENS: Final = "tokenizer.ggml.tokens"
_TYPES: Final = "tokenizer.ggml.token_type"
_MERGES: Final = "tokenizer.ggml.merges"

BYTE_PAIRS: Final = "gpt2"
"""How GGUF files call the byte-pair vocabularies that a gateway counts with."""

KNOWN_CUTS: Final = frozenset({"gpt-2", "smollm", "llama-bpe", "qwen2", "deepseek-r1-qwen"})
"""How they call the ways to cut text before it that a gateway knows."""

_MODEL: Final = "tokenizer.ggml.model"
_PRE: Final = "tokenizer.ggml.pre"

_T = TypeVar("_T", str, int)


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """Tokens by their number, with their types as llama.cpp numbers them, and how they merge.

    `model` and `pre` name the algorithm and how text is cut before it. Flags are None where the
    file does not say; then the engine's own habit for `pre` holds. `tokens` may repeat a text.
    """

    model: str
    pre: str
    tokens: tuple[str, ...]
    types: tuple[int, ...]
    merges: tuple[str, ...]
    bos: str
    eos: str
    adds_bos: bool | None
    adds_eos: bool | None
    template: str | None
    tokenizer_digest: Digest | None
    template_digest: Digest | None


def read_vocabulary(path: Path) -> Vocabulary:
    """Read the vocabulary of the GGUF file at `path`, of which no more than the header need be
    there. Raises GgufInvalid."""
    header = read_gguf(path, (_TOKENS, _TYPES, _MERGES))
    tokens, types = _texts(header, _TOKENS), _numbers(header, _TYPES)
    if not tokens or len(types) != len(tokens):
        raise GgufInvalid(f"{path.name} has no whole vocabulary")
    return Vocabulary(
        model=header.text(_MODEL) or "",
        pre=header.text(_PRE) or "",
        tokens=tokens,
        types=types,
        merges=_texts(header, _MERGES),
        bos=_named(header, tokens, "bos"),
        eos=_named(header, tokens, "eos"),
        adds_bos=_flag(header, "tokenizer.ggml.add_bos_token"),
        adds_eos=_flag(header, "tokenizer.ggml.add_eos_token"),
        template=header.template,
        tokenizer_digest=header.tokenizer_digest,
        template_digest=header.template_digest,
    )


def is_counted(header: GgufHeader) -> bool:
    """Tell whether a gateway counts by the vocabulary of a file with this header."""
    return header.text(_MODEL) == BYTE_PAIRS and header.text(_PRE) in KNOWN_CUTS


def _texts(header: GgufHeader, key: str) -> tuple[str, ...]:
    return _all(header.kept.get(key, ()), str)


def _numbers(header: GgufHeader, key: str) -> tuple[int, ...]:
    return _all(header.kept.get(key, ()), int)


def _all(entries: Entries, kind: type[_T]) -> tuple[_T, ...]:
    return tuple([each for each in entries if isinstance(each, kind)])


def _named(header: GgufHeader, tokens: tuple[str, ...], name: str) -> str:
    """Give the text of the token that the file names for a purpose, or none."""
    number = header.number(f"tokenizer.ggml.{name}_token_id")
    return tokens[number] if number is not None and 0 <= number < len(tokens) else ""


def _flag(header: GgufHeader, key: str) -> bool | None:
    value = header.values.get(key)
    return value if isinstance(value, bool) else None


__all__ = ["BYTE_PAIRS", "KNOWN_CUTS", "Vocabulary", "is_counted", "read_vocabulary"]

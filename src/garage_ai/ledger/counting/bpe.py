"""Byte-pair tokenizers from the vocabulary of a GGUF file, cutting text as llama.cpp does.

How text is cut into words before pairs are merged is not in the file: it only names one of many
ways. Those that stand here were compared with the engine itself, token for token; another name is
refused, since a tokenizer that is nearly right makes a bill that is nearly right.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from tokenizers import AddedToken, Regex, Tokenizer
from tokenizers.models import BPE
from tokenizers.pre_tokenizers import ByteLevel, PreTokenizer, Sequence, Split

from garage_ai.catalog import BYTE_PAIRS, Vocabulary
from garage_ai.ledger.counting.errors import TokenizerBroken, TokenizerUnknown

# Types of tokens as llama.cpp numbers them.
_UNKNOWN, _CONTROL, _USER_DEFINED = 2, 3, 4
_SPECIAL: Final = frozenset({_UNKNOWN, _CONTROL, _USER_DEFINED})

_GPT2: Final = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)"
_ENDINGS: Final = "(?:'[sS]|'[tT]|'[rR][eE]|'[vV][eE]|'[mM]|'[lL][lL]|'[dD])"
_WORDS: Final = r"[^\r\n\p{L}\p{N}]?\p{L}+"
_REST: Final = r" ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"


@dataclass(frozen=True, slots=True)
class _Habit:
    """How text is cut for a `pre`: by each pattern in turn; and what its engine does by default."""

    patterns: tuple[str, ...]
    whole_words: bool = False
    adds_bos: bool = False


_PLAIN: Final = _Habit((_GPT2,))
_DIGITS: Final = _Habit((r"\p{N}", _GPT2))
_LLAMA3: Final = _Habit(
    (rf"{_ENDINGS}|{_WORDS}|\p{{N}}{{1,3}}|{_REST}",), whole_words=True, adds_bos=True
)
_QWEN2: Final = _Habit((rf"{_ENDINGS}|{_WORDS}|\p{{N}}|{_REST}",))

HABITS: Final[Mapping[str, _Habit]] = {
    "gpt-2": _PLAIN,
    "smollm": _DIGITS,
    "llama-bpe": _LLAMA3,
    "qwen2": _QWEN2,
    "deepseek-r1-qwen": _QWEN2,
}
"""What is known, by the name in the file; whoever only describes has the names as `KNOWN_CUTS`."""


def adds_bos(vocabulary: Vocabulary) -> bool:
    """Tell whether the engine puts a first token before a prompt. Raises: TokenizerUnknown."""
    said = vocabulary.adds_bos
    return _habit(vocabulary).adds_bos if said is None else said


def tokenizer_of(vocabulary: Vocabulary) -> Tokenizer:
    """Build the tokenizer. Raises: TokenizerUnknown, TokenizerBroken."""
    habit = _habit(vocabulary)
    numbers = {text: number for number, text in enumerate(vocabulary.tokens)}
    merges = [_pair(merge) for merge in vocabulary.merges]
    try:
        model = BPE(numbers, merges, ignore_merges=habit.whole_words)
    except Exception as error:  # its own class for what Rust refuses, and no other
        raise TokenizerBroken(f"the vocabulary does not hold together: {error}") from error
    tokenizer = Tokenizer(model)
    cuts: list[PreTokenizer] = [Split(Regex(each), "isolated") for each in habit.patterns]
    tokenizer.pre_tokenizer = Sequence([*cuts, ByteLevel(add_prefix_space=False, use_regex=False)])
    tokenizer.add_special_tokens(
        [
            AddedToken(text, normalized=False, special=True)
            for text, kind in zip(vocabulary.tokens, vocabulary.types, strict=True)
            if kind in _SPECIAL and text
        ]
    )
    return tokenizer


def _habit(vocabulary: Vocabulary) -> _Habit:
    if vocabulary.model != BYTE_PAIRS:
        raise TokenizerUnknown(f"vocabularies of the kind {vocabulary.model[:40]!r} are not known")
    habit = HABITS.get(vocabulary.pre)
    if habit is None:
        raise TokenizerUnknown(f"the cutting {vocabulary.pre[:40]!r} is not known")
    return habit


def _pair(merge: str) -> tuple[str, str]:
    # A space is written as another sign in these vocabularies; the first may be one all the same.
    cut = merge.find(" ", 1)
    return merge[:cut], merge[cut + 1 :]


__all__ = ["HABITS", "adds_bos", "tokenizer_of"]

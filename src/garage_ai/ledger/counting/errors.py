"""Why something cannot be counted by a tokenizer; then the rule holds.

CountingError
├── TokenizerUnknown   tokenizer_unknown   a vocabulary whose algorithm is not known here
├── TokenizerBroken    tokenizer_broken    a vocabulary that contradicts itself or its manifest
├── TokenizerAbsent    tokenizer_absent    none is kept here for this model
├── TemplateFailed     template_failed     a chat template that does not take these messages
└── Uncountable        uncountable         images, sound, files: engines count them each in a way
"""

from typing import ClassVar


class CountingError(Exception):
    """Root of what keeps a request from being counted."""

    code: ClassVar[str] = "counting_error"


class TokenizerUnknown(CountingError):
    """The vocabulary is for an algorithm that was never compared with its engine."""

    code = "tokenizer_unknown"


class TokenizerBroken(CountingError):
    """The vocabulary cannot be used, or is not the one that the manifest names."""

    code = "tokenizer_broken"


class TokenizerAbsent(CountingError):
    """Nothing is kept for this model, yet or for good."""

    code = "tokenizer_absent"


class TemplateFailed(CountingError):
    """The chat template raised, or wrote too much."""

    code = "template_failed"


class Uncountable(CountingError):
    """The request holds what no tokenizer counts."""

    code = "uncountable"


__all__ = [
    "CountingError",
    "TemplateFailed",
    "TokenizerAbsent",
    "TokenizerBroken",
    "TokenizerUnknown",
    "Uncountable",
]

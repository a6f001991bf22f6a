"""How a request is counted where no tokenizer is known: by its bytes, on the payer's side. Pure."""

from collections.abc import Sequence
from typing import Final

from garage_ai.ledger.counting.orders import Count
from garage_ai.ledger.counting.requests import MEDIUM_TOKENS, Asked, all_text, at_most, read_asked
from garage_ai.wire.frames import Route

RULE_BYTES: Final = 4
"""Bytes of UTF-8 that are taken for one token. English has a little more, other languages and code
less: who pays pays no more than a tokenizer would have counted, as a rule."""


def count_by_rule(route: Route, body: bytes, texts: Sequence[str]) -> Count:
    """Count a request: bytes by four, rounded up for each text, and what was given as numbers."""
    each = tuple(map(_by_bytes, texts))
    try:
        asked = read_asked(route, body, engine="vllm", template="")
        return Count(_prompt(asked), at_most(each, asked.most), exact=False)
    except Exception:  # nothing in a body makes it free: all of it is counted
        return Count(-(-len(body) // RULE_BYTES), each, exact=False)


def _prompt(asked: Asked) -> int:
    if asked.chat is not None:
        return _by_bytes(all_text(asked.chat)) + asked.chat.media * MEDIUM_TOKENS
    return asked.tokens + sum(map(_by_bytes, asked.texts))


def _by_bytes(text: str) -> int:
    return -(-len(text.encode("utf-8", "surrogatepass")) // RULE_BYTES)


__all__ = ["RULE_BYTES", "count_by_rule"]

"""How a request is counted where no tokenizer is known: by its bytes, on the payer's side. Pure."""

from collections.abc import Sequence
from typing import Final

import msgspec

from garage_ai.ledger.counting.orders import Count
from garage_ai.ledger.counting.requests import MEDIUM_TOKENS, Asked, all_text, at_most, read_asked
from garage_ai.wire.frames import Route

RULE_BYTES: Final = 4
"""Bytes of UTF-8 that are taken for one token. English has a little more, other languages and code
less: who pays pays no more than a tokenizer would have counted, as a rule."""


class _Turn(msgspec.Struct):
    content: str | None = None
    tool_calls: None = None


class _Talk(msgspec.Struct):
    """A chat of nothing but texts, which most are: it needs no second look."""

    messages: list[_Turn]
    tools: None = None
    functions: None = None
    n: int | None = None
    best_of: int | None = None
    max_tokens: int | None = None


_talks: Final = msgspec.json.Decoder(_Talk)


def count_by_rule(route: Route, body: bytes, texts: Sequence[str]) -> Count:
    """Count a request: bytes by four, rounded up for each text, and what was given as numbers."""
    each = tuple([_by_bytes(text) for text in texts])
    try:
        prompt, most = (_talk(body) if route == "chat" else None) or _asked(route, body)
        return Count(prompt, at_most(each, most), exact=False)
    except Exception:  # nothing in a body makes it free: all of it is counted
        return Count(-(-len(body) // RULE_BYTES), each, exact=False)


def _talk(body: bytes) -> tuple[int, int | None] | None:
    """Count the prompt of a chat of texts, and tell the most that may be answered; None: others."""
    try:
        talk = _talks.decode(body)
    except msgspec.ValidationError:
        return None
    said = "\n".join([turn.content for turn in talk.messages if turn.content])
    most = talk.max_tokens
    return _by_bytes(said), None if most is None else most * max(1, talk.n or 1, talk.best_of or 1)


def _asked(route: Route, body: bytes) -> tuple[int, int | None]:
    asked = read_asked(route, body, engine="vllm", template="")
    return _prompt(asked), asked.most


def _prompt(asked: Asked) -> int:
    if asked.chat is not None:
        return _by_bytes(all_text(asked.chat)) + asked.chat.media * MEDIUM_TOKENS
    return asked.tokens + sum(map(_by_bytes, asked.texts))


def _by_bytes(text: str) -> int:
    return -(-len(text.encode("utf-8", "surrogatepass")) // RULE_BYTES)


__all__ = ["RULE_BYTES", "count_by_rule"]

"""Large requests, cut into pieces that are counted each for itself, and added up. Pure.

The process that counts takes one order after another. A request of many texts is cut between them,
where its count is the sum of theirs; a chat is one text, and stays whole.
"""

from collections.abc import Iterator, Sequence
from typing import Final

import msgspec

from garage_ai.ledger.counting.errors import Uncountable
from garage_ai.ledger.counting.orders import Ask, Count
from garage_ai.ledger.counting.requests import read_asked
from garage_ai.wire.frames import Route

PIECE: Final = 256 * 1024
"""Bytes of text in a piece, unless one text has more; they are counted in about 0.1 s."""


def is_large(order: Ask) -> bool:
    """Tell whether a request is to be cut."""
    return order.route != "chat" and len(order.body) > PIECE


def pieces_of(order: Ask) -> list[Ask]:
    """Cut a request between its prompts; what was answered is the last piece."""
    try:
        # How an engine handles chats does not matter: this is none.
        asked = read_asked(order.route, order.body, engine="vllm", template="")
    except Uncountable:
        return [order]
    if len(asked.texts) < 2 or asked.tokens or asked.echo:
        return [order]
    pieces = [_ask(order, "embeddings", {"input": texts}) for texts in _together(asked.texts)]
    if order.texts or order.route == "completions":
        answered: dict[str, object] = {"prompt": [], "max_tokens": asked.most}
        pieces.append(_ask(order, order.route, answered, order.texts))
    return pieces


def added_up(counts: Sequence[Count], order: Ask) -> Count:
    """Give the count of a request whose pieces were counted."""
    if len(counts) == 1:
        return counts[0]
    each = tuple([length for count in counts for length in count.each])
    # Of completions with several prompts no engine tells what is delivered.
    exact = order.route == "embeddings" and all(count.exact for count in counts)
    return Count(sum(count.prompt for count in counts), each, exact)


def _ask(order: Ask, route: Route, body: object, texts: tuple[str, ...] = ()) -> Ask:
    return Ask(order.digest, route, msgspec.json.encode(body), texts)


def _together(texts: Sequence[str]) -> Iterator[list[str]]:
    group: list[str] = []
    size = 0
    for text in texts:
        length = len(text.encode())
        if group and size + length > PIECE:
            yield group
            group, size = [], 0
        group.append(text)
        size += length
    yield group


__all__ = ["PIECE", "added_up", "is_large", "pieces_of"]

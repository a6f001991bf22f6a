"""What went to the client of a node's answer, as text: the bill is counted from it. Pure.

Content, reasoning and refusals are texts of their own, one for each choice. A call of a tool is
kept as it came, and read when all is over: its name and its arguments are what the model wrote.
"""

from collections.abc import Iterable
from typing import Final

import msgspec


class _Function(msgspec.Struct, frozen=True):
    name: str | None = None
    arguments: str | None = None


class _Call(msgspec.Struct, frozen=True):
    index: int = 0
    function: _Function | None = None


_calls: Final = msgspec.json.Decoder(list[_Call])
_function: Final = msgspec.json.Decoder(_Function)


class Delivered(msgspec.Struct, frozen=True):
    """Texts that went to the client, and pieces of calls, in the order in which they came."""

    texts: tuple[str, ...] = ()
    calls: tuple[bytes, ...] = ()

    @property
    def is_text(self) -> bool:
        """Whether nothing but one text was said, as it stood in the model's own words."""
        return len(self.texts) == 1 and not self.calls

    def read(self) -> tuple[str, ...]:
        """Give all texts, those of calls among them; what cannot be read of a call is no text."""
        return (*self.texts, *_texts_of(self.calls)) if self.calls else self.texts


NOTHING: Final = Delivered()


def _texts_of(pieces: Iterable[bytes]) -> list[str]:
    said: dict[int, list[str]] = {}
    for piece in pieces:
        for call in _read(piece):
            if call.function is not None:
                words = said.setdefault(call.index, [])
                words += filter(None, (call.function.name, call.function.arguments))
    return ["".join(words) for words in said.values() if words]


def _read(piece: bytes) -> list[_Call]:
    try:
        if piece.lstrip().startswith(b"["):
            return _calls.decode(piece)
        return [_Call(function=_function.decode(piece))]
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return []


__all__ = ["NOTHING", "Delivered"]

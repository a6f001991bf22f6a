"""One plain answer made of the events of a streamed one, in the form of the OpenAI API. Pure.

The agent needs it for an engine that can only be stopped while it streams, a gateway for an answer
that is to outlast its node. Events are hostile input: what is none of the API raises one of `ODD`.
"""

from io import StringIO
from typing import Any, Final

GOES_ON: Final = (None, "", "null")
"""What stands as `finish_reason` of a choice that has not ended: the API's null, and what servers
write for it (LocalAI, and SGLang and Ollama of before, an empty text; KoboldCpp the word)."""

_REPLACED: Final = frozenset({"role", "id", "type", "name", "finish_reason"})
"""Texts that are said whole, not piece by piece."""

ODD: Final = (TypeError, AttributeError, LookupError, ValueError)
"""What `Whole.add` raises for an event that is none."""


class Whole:
    """Take events, give the answer that would have come without `stream`."""

    def __init__(self, *, chat: bool) -> None:
        """Begin; `chat` tells the one shape from the other."""
        self._key = "message" if chat else "text"
        self._object = "chat.completion" if chat else "text_completion"
        self._top: dict[str, Any] = {}
        self._choices: dict[int, dict[str, Any]] = {}
        self._growing: list[tuple[dict[str, Any], str]] = []

    @property
    def finished(self) -> bool:
        """Whether every choice came to its end."""
        ends = [choice.get("finish_reason") for choice in self._choices.values()]
        return bool(ends) and not any(end in GOES_ON for end in ends)

    def add(self, event: dict[str, Any]) -> None:
        """Take one more event; it is not to be used afterwards. Raises: those of `ODD`."""
        for choice in event.pop("choices", ()):
            self._choice(choice)
        self._top |= event

    def answer(self) -> dict[str, Any]:
        """Give the answer; `usage` as it was said last."""
        for kept, key in self._growing:
            text = kept[key]
            if isinstance(text, StringIO):
                kept[key] = text.getvalue()
        self._growing.clear()
        choices = [self._choices[index] for index in sorted(self._choices)]
        return {"choices": choices} | self._top | {"object": self._object}

    def _choice(self, choice: dict[str, Any]) -> None:
        kept = self._choices.setdefault(int(choice["index"]), {"index": choice["index"]})
        delta = choice.pop("delta", None)
        if delta is not None:
            choice[self._key] = delta
        del choice["index"]
        self._merge(kept, choice)

    def _merge(self, kept: dict[str, Any], more: dict[str, Any]) -> None:
        """Add what an event says to what was said before."""
        for key, value in more.items():
            before = kept.get(key)
            if value is None:
                kept.setdefault(key, None)
            elif isinstance(value, str) and isinstance(before, (str, StringIO)):
                self._say(kept, key, value)
            elif isinstance(value, dict) and (before is None or isinstance(before, dict)):
                kept[key] = before or {}
                self._merge(kept[key], value)
            elif isinstance(value, list) and key == "tool_calls":
                kept[key] = self._merge_calls(before or [], value)
            elif isinstance(before, list) and isinstance(value, list):
                before.extend(value)
            else:
                kept[key] = value

    def _say(self, kept: dict[str, Any], key: str, piece: str) -> None:
        """Add a piece to a text, in a time that does not grow with the text."""
        text = kept[key]
        if key in _REPLACED:
            kept[key] = piece
        elif isinstance(text, StringIO):
            text.write(piece)
        else:
            kept[key] = growing = StringIO(newline="")
            growing.write(text)
            growing.write(piece)
            self._growing.append((kept, key))

    def _merge_calls(
        self, kept: list[dict[str, Any]], more: list[dict[str, Any]]
    ) -> list[dict[str, Any]]:
        """Add pieces of tool calls, each to the call of its index; a plain answer has no index."""
        for piece in more:
            index = piece.pop("index", len(kept))
            if index < len(kept):
                self._merge(kept[index], piece)
            else:
                kept.append(piece)
        return kept


__all__ = ["GOES_ON", "ODD", "Whole"]

"""A conversation with a model, and what the lines typed into it mean: no terminal, no network."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final, Literal

from garage_ai.cli.shapes import Chunk, Message

DEFAULT_MODEL: Final = "garage-chat"
_ID_MARKS: Final = frozenset("-_/:.0123456789")
_BLOCK: Final = '"""'


@dataclass(frozen=True, slots=True)
class Typed:
    """What the owner typed: a text for the model, a command, or a part of something longer."""

    kind: Literal["text", "command", "more", "nothing"]
    text: str = ""
    argument: str = ""


class Reader:
    r"""Put lines together: a line ending in \ goes on; \"\"\" begins and ends a block."""

    def __init__(self) -> None:
        self._lines: list[str] = []
        self._in_block = False

    def take(self, line: str) -> Typed:
        """Take a line and say what there is now."""
        if self._in_block:
            return self._in_block_take(line)
        if not self._lines and line.strip().startswith(_BLOCK):
            self._in_block = True
            return self._in_block_take(line.strip().removeprefix(_BLOCK))
        if line.endswith("\\"):
            self._lines.append(line[:-1])
            return Typed("more")
        self._lines.append(line)
        return self._whole()

    def forget(self) -> None:
        """Drop what was typed so far."""
        self._lines, self._in_block = [], False

    def _in_block_take(self, line: str) -> Typed:
        before, mark, _ = line.partition(_BLOCK)
        self._lines.append(before)
        if not mark:
            return Typed("more")
        self._in_block = False
        return self._whole(may_command=False)

    def _whole(self, *, may_command: bool = True) -> Typed:
        text = "\n".join(self._lines).strip()
        self._lines = []
        if not text:
            return Typed("nothing")
        if may_command and text.startswith("/"):
            command, _, argument = text.partition(" ")
            return Typed("command", command, argument.strip())
        return Typed("text", text)


@dataclass(slots=True)
class Conversation:
    """Who is talked to and what was said."""

    model: str
    system: str | None = None
    max_tokens: int | None = None
    said: list[Message] = field(default_factory=list)

    def asking(self, text: str) -> list[Message]:
        """Give all messages of the next question."""
        system = [Message("system", self.system)] if self.system else []
        return [*system, *self.said, Message("user", text)]

    def answered(self, text: str, answer: str) -> None:
        """Keep a question and its answer, as far as it came."""
        self.said += [Message("user", text), Message("assistant", answer)]

    def reset(self) -> None:
        """Forget what was said."""
        self.said.clear()


@dataclass(slots=True)
class Answer:
    """An answer as it comes; times in seconds since the question was sent."""

    text: str = ""
    pieces: int = 0
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    first: float | None = None
    last: float = 0.0

    def take(self, chunk: Chunk, at: float) -> str:
        """Add an event that came `at` seconds after the question; give its text."""
        piece = chunk.text
        if piece:
            self.first = at if self.first is None else self.first
            self.last = at
            self.text += piece
            self.pieces += 1
        if chunk.usage is not None:
            self.prompt_tokens = chunk.usage.prompt_tokens
            self.completion_tokens = chunk.usage.completion_tokens
        return piece

    @property
    def tokens(self) -> int:
        """Tokens of the answer: the engine's word, else the pieces seen."""
        return self.pieces if self.completion_tokens is None else self.completion_tokens

    @property
    def speed(self) -> float | None:
        """Tokens per second after the first; None when there are too few to tell."""
        if self.first is None or self.tokens < 2 or self.last <= self.first:
            return None
        return (self.tokens - 1) / (self.last - self.first)


def what_was_meant(
    first: str | None, second: str | None, served: Iterable[str]
) -> tuple[str, str | None]:
    """Tell model and text apart: `chat MODEL TEXT`, `chat MODEL`, `chat TEXT`, `chat`.

    One word alone is a model if it is served or looks like a model's id.
    """
    if first is None:
        return DEFAULT_MODEL, None
    if second is not None:
        return first, second
    if len(first.split()) != 1:
        return DEFAULT_MODEL, first
    return (first, None) if first in served or _looks_like_id(first) else (DEFAULT_MODEL, first)


def _looks_like_id(word: str) -> bool:
    # "Hello!" is a text, "qwen3-8b" is a model: ids hold digits or marks inside.
    return any(mark in _ID_MARKS for mark in word.strip("-_/:.!?,"))


__all__ = ["DEFAULT_MODEL", "Answer", "Conversation", "Reader", "Typed", "what_was_meant"]

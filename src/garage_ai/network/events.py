"""Events of a streamed answer: the few fields that matter, as engines write them.

Shapes: OpenAI's chat.completion.chunk, and `reasoning` or `reasoning_content` as engines add it.
"""

from typing import Annotated, Final, Literal

import msgspec

MAX_CHOICES: Final = 128
"""Choices of one answer, prompts times `n`: no request asks for more, and each is kept apart."""

Tokens = Annotated[int, msgspec.Meta(ge=0, le=1 << 31)]


class Usage(msgspec.Struct, frozen=True):
    """Tokens as the engine counted them; None where it did not say."""

    prompt_tokens: Tokens | None = None
    completion_tokens: Tokens | None = None

    def beyond(self, before: "Usage | None") -> "Usage":
        """Give the greater of each count, this one's and an earlier one's.

        A server says once what was used, or again and again what was used so far (vLLM's
        `continuous_usage_stats`): counts only grow, and are never to be added up.
        """
        if before is None:
            return self
        return Usage(
            _greater(self.prompt_tokens, before.prompt_tokens),
            _greater(self.completion_tokens, before.completion_tokens),
        )


ABSENT: Final = msgspec.Raw()


class Said(msgspec.Struct, frozen=True, gc=False):
    """What one choice says: the whole message of a plain answer, or an event's piece of it."""

    content: str | None = None
    reasoning_content: str | None = None
    reasoning: str | None = None
    refusal: str | None = None
    tool_calls: msgspec.Raw = ABSENT
    function_call: msgspec.Raw = ABSENT


class Choice(msgspec.Struct, frozen=True, gc=False):
    delta: Said | None = None
    text: str | None = None
    finish_reason: str | None = None
    index: Annotated[int, msgspec.Meta(ge=0, lt=MAX_CHOICES)] = 0


class Event(msgspec.Struct, frozen=True, gc=False):
    choices: list[Choice] = []
    usage: Usage | msgspec.UnsetType | None = msgspec.UNSET
    error: msgspec.Raw = ABSENT


_Nothing = Annotated[int, msgspec.Meta(ge=1, le=0)]
"""No value is one of these: a field of this kind is not there."""


class _Words(msgspec.Struct, frozen=True, gc=False):
    content: str | None = None
    reasoning_content: None = None
    reasoning: None = None
    refusal: None = None
    tool_calls: _Nothing = 0
    function_call: _Nothing = 0


class _FirstChoice(msgspec.Struct, frozen=True, gc=False):
    delta: _Words
    text: _Nothing = 0
    index: Literal[0] = 0
    finish_reason: None = None


class Word(msgspec.Struct, frozen=True, gc=False):
    """A piece of the first choice's text and nothing else, as nearly all events are."""

    choices: tuple[_FirstChoice]
    usage: _Nothing = 0
    error: _Nothing = 0


EVENTS: Final = msgspec.json.Decoder(Event)
WORDS: Final = msgspec.json.Decoder(Word)


def is_there(raw: msgspec.Raw) -> bool:
    """Tell whether a member of an event says anything."""
    return bytes(raw) not in (b"", b"null", b"[]")


def _greater(one: int | None, other: int | None) -> int | None:
    return max((count for count in (one, other) if count is not None), default=None)


__all__ = [
    "ABSENT",
    "EVENTS",
    "MAX_CHOICES",
    "WORDS",
    "Choice",
    "Event",
    "Said",
    "Usage",
    "is_there",
]

"""Asking on: a request's body with what was said already as a turn to be continued. Pure.

Read only when a node was lost in the middle of an answer; the prompt stays in memory alone.
"""

from typing import Final

import msgspec

from garage_ai.network.complaint import UNDECODABLE
from garage_ai.network.events import ABSENT
from garage_ai.network.replies import objects
from garage_ai.wire.frames import Route

_encoder: Final = msgspec.json.Encoder()


class _Format(msgspec.Struct, frozen=True):
    type: str = "text"


class _Asked(msgspec.Struct, frozen=True):
    """The fields that decide whether, and how, an answer can be continued."""

    messages: list[msgspec.Raw] = []
    prompt: msgspec.Raw = ABSENT
    max_tokens: int | None = None
    stop: str | list[str] | None = None
    n: int | None = None
    best_of: int | None = None
    logprobs: bool | int | None = None
    echo: bool | None = None
    suffix: str | None = None
    response_format: _Format | None = None
    tool_choice: msgspec.Raw = ABSENT
    function_call: msgspec.Raw = ABSENT


class _LastTurn(msgspec.Struct, frozen=True):
    role: str
    content: str | list[msgspec.Raw] | None = None
    tool_calls: msgspec.Raw = ABSENT
    function_call: msgspec.Raw = ABSENT


_asked: Final = msgspec.json.Decoder(_Asked)
_turns: Final = msgspec.json.Decoder(_LastTurn)
_texts: Final = msgspec.json.Decoder(str)


class Unsound(Exception):
    """The answer cannot be continued; the message says why, for the client."""


class Prefill:
    """What was asked, seen with the eyes of one who is to go on with the answer."""

    def __init__(self, route: Route, body: bytes) -> None:
        """Read a request's body. Raises: Unsound."""
        try:
            self._asked = _asked.decode(body)
        except UNDECODABLE:
            raise Unsound("the request has an unusual shape") from None
        self._route = route
        self._body = body

    @property
    def several(self) -> bool:
        """Whether more than one answer was asked for, so that the end of one says little."""
        asked = self._asked
        many = self._route == "completions" and not _is_text(asked.prompt)
        return many or (asked.n or 1) > 1 or (asked.best_of or 1) > 1

    @property
    def stops(self) -> tuple[str, ...]:
        """The strings at which the answer is to stop."""
        stop = self._asked.stop
        return (stop,) if isinstance(stop, str) else tuple(stop or ())

    def left(self, said: int) -> int | None:
        """Tell how many tokens may still come after so many; None for no limit."""
        most = self._asked.max_tokens
        return None if most is None else max(0, most - said)

    def check(self) -> None:
        """See that text alone carries the answer. Raises: Unsound."""
        asked = self._asked
        if self.several:
            raise Unsound("several answers were asked for")
        if _wants_logprobs(asked.logprobs, self._route):
            raise Unsound("log probabilities were asked for")
        if asked.response_format is not None and asked.response_format.type != "text":
            raise Unsound("a structured answer was asked for")
        if _forces(asked.tool_choice) or _forces(asked.function_call):
            raise Unsound("a tool call was asked for")
        if asked.echo or asked.suffix:
            raise Unsound("an echo or a suffix was asked for")

    def body(self, text: str, said: int) -> bytes:
        """Write the request that goes on after `text`, `said` tokens long. Raises: Unsound."""
        fields: dict[str, object] = dict(objects.decode(self._body))
        if self._route == "chat":
            fields["messages"] = self._messages(text)
            # vLLM needs both to go on with a turn instead of answering it; llama.cpp takes them.
            fields["continue_final_message"] = True
            fields["add_generation_prompt"] = False
        else:
            fields["prompt"] = _texts.decode(self._asked.prompt) + text
        left = self.left(said)
        if left is not None:
            fields["max_tokens"] = left
        return _encoder.encode(fields)

    def _messages(self, text: str) -> list[object]:
        messages: list[object] = list(self._asked.messages)
        if not messages:
            raise Unsound("the request has an unusual shape")
        last = self._asked.messages[-1]
        try:
            turn = _turns.decode(last)
        except UNDECODABLE:
            raise Unsound("the request has an unusual shape") from None
        if turn.role != "assistant":
            return [*messages, {"role": "assistant", "content": text}]
        if turn.content is None or _is_given(turn.tool_calls) or _is_given(turn.function_call):
            raise Unsound("the last message cannot be continued")
        joined: object = (
            turn.content + text
            if isinstance(turn.content, str)
            else [*turn.content, {"type": "text", "text": text}]
        )
        return [*messages[:-1], {**objects.decode(last), "content": joined}]


def _is_text(raw: msgspec.Raw) -> bool:
    return bytes(raw).lstrip().startswith(b'"')


def _is_given(raw: msgspec.Raw) -> bool:
    return bytes(raw) not in (b"", b"null", b"[]")


def _forces(raw: msgspec.Raw) -> bool:
    """Tell whether a choice of tools leaves the model none: one named, or `required`."""
    return bytes(raw) not in (b"", b"null", b'"auto"', b'"none"')


def _wants_logprobs(asked: bool | int | None, route: Route) -> bool:
    # For completions 0 is a number like others: the chosen tokens' own probabilities.
    return bool(asked) if route == "chat" else asked is not None and asked is not False


__all__ = ["Prefill", "Unsound"]

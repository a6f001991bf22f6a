"""What of a request's body becomes the model's prompt. Pure.

Bodies were checked by the gateway before; whatever is not as it should be is taken as not there.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

import msgspec

from garage_ai.ledger.counting.errors import Uncountable
from garage_ai.wire.frames import Route

MEDIUM_TOKENS: Final = 1000
"""What a picture, a sound or a file is billed as: engines count each in a way of its own, most
pictures between 250 and 1,500."""
TURN_TOKENS: Final = 5
"""What a turn takes besides its text, where no template can tell."""

Engine = Literal["llama.cpp", "vllm"]
"""Whose handling of a chat is followed: a GGUF file is served by one, a folder by the other."""

# A template that goes through the parts of a message itself is given them, another their texts.
_READS_PARTS: Final = re.compile(r"\bfor\s+\w+\s+in\s+\w+(?:\.content|\[['\"]content['\"]\])")


class _Body(msgspec.Struct, frozen=True):
    messages: list[dict[str, Any]] = []
    tools: list[object] | None = None
    functions: list[object] | None = None
    reasoning_effort: str | None = None
    prompt: object = None
    input: object = None
    echo: bool | None = None
    stop: object = None
    n: int | None = None
    best_of: int | None = None
    max_tokens: int | None = None


_bodies: Final = msgspec.json.Decoder(_Body)


@dataclass(frozen=True, slots=True)
class Chat:
    """A conversation, as a template takes it.

    With `answers` the model's turn is begun after `messages`; `begun` is what it says already.
    `media` counts pictures, sounds and files, of which no text is left.
    """

    messages: tuple[Mapping[str, Any], ...]
    tools: tuple[object, ...]
    options: Mapping[str, object]
    answers: bool
    begun: str
    media: int


@dataclass(frozen=True, slots=True)
class Asked:
    """A request: a chat, or texts and numbered tokens; and the most that may be answered.

    `single` tells that an engine's figures are those of what is delivered: of several answers most
    engines tell one's alone, and what a stop string cuts off is theirs.
    """

    chat: Chat | None
    texts: tuple[str, ...]
    tokens: int
    echo: bool
    single: bool
    most: int | None


def read_asked(route: Route, body: bytes, *, engine: Engine, template: str) -> Asked:
    """Read a request's body. Raises: Uncountable."""
    try:
        found = _bodies.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise Uncountable("the request has an unusual shape") from error
    choices = max(1, found.n or 1, found.best_of or 1)
    if route == "chat":
        chat = _chat(found, engine, template)
        return Asked(
            chat,
            (),
            0,
            echo=False,
            single=choices == 1 and not found.stop,
            most=_most(found, choices),
        )
    texts, tokens, prompts = _plain(found.prompt if route == "completions" else found.input)
    return Asked(
        None,
        texts,
        tokens,
        echo=bool(found.echo),
        single=route == "embeddings"
        or (choices * prompts == 1 and not found.stop and not found.echo),
        most=_most(found, choices * prompts),
    )


def _most(found: _Body, answers: int) -> int | None:
    return None if found.max_tokens is None else found.max_tokens * answers


def _plain(value: object) -> tuple[tuple[str, ...], int, int]:
    """Give texts, the number of tokens that were given as numbers, and how many prompts it is."""
    if isinstance(value, str):
        return (value,), 0, 1
    if not isinstance(value, list) or not value:
        return (), 0, 1
    if isinstance(value[0], int):
        return (), len(value), 1
    texts = tuple([each for each in value if isinstance(each, str)])
    return texts, sum(len(each) for each in value if isinstance(each, list)), len(value)


def _chat(found: _Body, engine: Engine, template: str) -> Chat:
    keeps_parts = _READS_PARTS.search(template) is not None
    media = sum(_is_medium(part) for message in found.messages for part in _parts(message))
    turns, answers, begun = found.messages, True, ""
    if engine == "llama.cpp" and turns and _continues(turns[-1]):
        # It goes on with a last turn of the model's, and does not even begin an empty one.
        turns, begun = turns[:-1], _text_of(turns[-1].get("content"))
        answers = bool(begun)
    messages = tuple([_turn(each, engine, keeps_parts=keeps_parts) for each in turns])
    older = [{"type": "function", "function": each} for each in found.functions or ()]
    tools = found.tools or older
    if engine == "llama.cpp":
        tools = [_as_it_reads(tool) for tool in tools]
    options = {"reasoning_effort": found.reasoning_effort} if found.reasoning_effort else {}
    return Chat(messages, tuple(tools), options, answers, begun, media)


def _continues(message: Mapping[str, Any]) -> bool:
    return message.get("role") == "assistant" and not message.get("tool_calls")


def _turn(message: Mapping[str, Any], engine: Engine, *, keeps_parts: bool) -> Mapping[str, Any]:
    turn = dict(message)
    if engine == "llama.cpp" and turn.get("role") == "developer":
        turn["role"] = "system"
    content = turn.get("content")
    if content is None:
        turn["content"] = ""
    elif isinstance(content, list) and not keeps_parts:
        turn["content"] = _text_of(content)
    if turn.get("tool_calls"):
        turn["tool_calls"] = [_with_object(call) for call in turn["tool_calls"]]
    return turn


def _with_object(call: Any) -> Any:
    """Give a call with its arguments as an object, as templates expect them; they come as text."""
    function = call.get("function") if isinstance(call, dict) else None
    if not isinstance(function, dict) or not isinstance(function.get("arguments"), str):
        return call
    try:
        arguments = msgspec.json.decode(function["arguments"])
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return call
    return {**call, "function": {**function, "arguments": arguments}}


def _as_it_reads(tool: object) -> object:
    """Give a tool as llama.cpp hands it to the template: with these fields, and no others."""
    function = tool.get("function") if isinstance(tool, dict) else None
    if not isinstance(function, dict):
        return tool
    told = {
        "name": function.get("name"),
        "description": function.get("description") or "",
        "parameters": function.get("parameters") or {},
    }
    return {"type": "function", "function": told}


def _parts(message: Mapping[str, Any]) -> Iterator[object]:
    content = message.get("content")
    return iter(content if isinstance(content, list) else ())


def _is_medium(part: object) -> bool:
    return isinstance(part, dict) and part.get("type") not in ("text", "refusal")


def _text_of(content: object) -> str:
    if isinstance(content, str):
        return content
    parts: Sequence[object] = content if isinstance(content, list) else ()
    said = [
        part.get("text") or part.get("refusal") or ""
        for part in parts
        if isinstance(part, dict) and not _is_medium(part)
    ]
    return "\n".join(text for text in said if isinstance(text, str))


def at_most(each: Sequence[int], most: int | None) -> tuple[int, ...]:
    """Cut counts, from the last on, until no more is left of them than was asked for."""
    if most is None:
        return tuple(each)
    kept: list[int] = []
    for length in each:
        kept.append(min(length, most))
        most -= kept[-1]
    return tuple(kept)


def all_text(chat: Chat) -> str:
    """Give everything that was said in a chat, for where no template can put it together."""
    said = [_text_of(message.get("content")) for message in chat.messages]
    calls = [message["tool_calls"] for message in chat.messages if message.get("tool_calls")]
    beyond = [msgspec.json.encode(each).decode() for each in (*calls, *chat.tools)]
    return "\n".join(filter(None, [*said, *beyond, chat.begun]))


__all__ = [
    "MEDIUM_TOKENS",
    "TURN_TOKENS",
    "Asked",
    "Chat",
    "Engine",
    "all_text",
    "at_most",
    "read_asked",
]

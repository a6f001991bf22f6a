"""The bytes a mock engine answers with: OpenAI-shaped, deterministic, built once and kept.

Chunk k says ` wk`, so a client can tell a lost chunk from a doubled one, and count chunks by
counting `" w` without decoding anything.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Literal, NamedTuple

import msgspec

from bench.mock_options import Options

__all__ = [
    "END",
    "STREAM_HEAD",
    "Generation",
    "Route",
    "Shape",
    "StreamParts",
    "chunked",
    "embeddings_answer",
    "error_answer",
    "json_answer",
    "plain_answer",
    "stream_parts",
    "text_of",
]

Route = Literal["chat", "completions"]
NOTHING = msgspec.Raw()
CREATED = 1_700_000_000
DONE = b"data: [DONE]\n\n"
END = b"0\r\n\r\n"
STREAM_HEAD = (
    b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n"
    b"cache-control: no-cache\r\ntransfer-encoding: chunked\r\n\r\n"
)
REASONS = {200: "OK", 400: "Bad Request", 401: "Unauthorized", 403: "Forbidden", 404: "Not Found"}


class _StreamOptions(msgspec.Struct):
    include_usage: bool = False


class _Function(msgspec.Struct):
    name: str = "mock"


class _Tool(msgspec.Struct):
    function: _Function = msgspec.field(default_factory=_Function)


class _Turn(msgspec.Struct):
    content: msgspec.Raw = NOTHING


class Generation(msgspec.Struct):
    """The fields of a chat, completion or embedding request that shape the answer."""

    model: str = "mock"
    stream: bool = False
    max_tokens: int | None = None
    max_completion_tokens: int | None = None
    stream_options: _StreamOptions | None = None
    tools: list[_Tool] = []
    tool_choice: str | _Tool | None = None
    input: str | list[str | int | list[int]] = ""
    messages: msgspec.Raw = NOTHING
    prompt: msgspec.Raw = NOTHING
    continue_final_message: bool = False

    @property
    def limit(self) -> int | None:
        """Say how many tokens the client asked for, None when it did not say."""
        return self.max_tokens if self.max_completion_tokens is None else self.max_completion_tokens

    @property
    def wants_usage(self) -> bool:
        """Say whether the stream ends with a usage event."""
        return self.stream_options is not None and self.stream_options.include_usage

    @property
    def said(self) -> int:
        """Count the chunks that the request brings along, to be gone on from."""
        if self.continue_final_message:
            return _count_said(msgspec.json.decode(self.messages, type=list[_Turn])[-1].content)
        return _count_said(self.prompt)

    @property
    def forced_tool(self) -> str:
        """Name the tool the client insists on; empty when it leaves the choice."""
        if isinstance(self.tool_choice, _Tool):
            return self.tool_choice.function.name
        return self.tools[0].function.name if self.tools and self.tool_choice == "required" else ""


class Shape(NamedTuple):
    """What an answer depends on; equal shapes share their bytes."""

    route: Route
    model: str
    chunks: int
    finish: str
    tool: str  # the tool to call, empty for text
    prompt_tokens: int
    start: int = 0  # chunks said before, by another engine


@dataclass(frozen=True, slots=True)
class StreamParts:
    """One stream, cut where a real engine would write: events, usage event, last event."""

    events: tuple[bytes, ...]
    usage: bytes
    done: bytes


def text_of(chunks: int, start: int = 0) -> str:
    """Return the whole text of an answer of that many chunks."""
    return "".join(f" w{index}" for index in range(start, start + chunks))


def _count_said(raw: msgspec.Raw) -> int:
    """Count the chunks at the end of a text; what brings none is not even decoded."""
    if not bytes(raw).startswith(b'"') or b" w0" not in bytes(raw):
        return 0
    text = msgspec.json.decode(raw, type=str)
    count = text[text.rfind(" w") + 2 :]
    said = int(count) + 1 if count.isdigit() else 0
    return said if text.endswith(text_of(said)) else 0


def chunked(data: bytes) -> bytes:
    """Wrap data as one chunk of an HTTP chunked body."""
    return b"%x\r\n%b\r\n" % (len(data), data)


def json_answer(body: bytes, status: int = 200, headers: str = "") -> bytes:
    """Return a whole HTTP answer with a JSON body."""
    head = (
        f"HTTP/1.1 {status} {REASONS.get(status, 'Mock')}\r\ncontent-type: application/json\r\n"
        f"{headers}content-length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


def error_answer(status: int, message: str) -> bytes:
    """Return a whole HTTP answer that carries OpenAI's error envelope."""
    error = {"message": message, "type": "mock_error", "param": None, "code": f"mock_{status}"}
    retry = "retry-after: 1\r\n" if status in {429, 503} else ""
    return json_answer(msgspec.json.encode({"error": error}), status, retry)


def _usage(shape: Shape) -> dict[str, int]:
    prompt = shape.prompt_tokens + shape.start
    total = prompt + shape.chunks
    return {
        "prompt_tokens": prompt,
        "completion_tokens": shape.chunks,
        "total_tokens": total,
    }


def _text_choices(shape: Shape) -> list[dict[str, object]]:
    return [_text_choice(shape, index) for index in range(shape.chunks)]


def _text_choice(shape: Shape, index: int) -> dict[str, object]:
    finish = shape.finish if index == shape.chunks - 1 else None
    text = f" w{shape.start + index}"
    if shape.route == "completions":
        return {"index": 0, "text": text, "logprobs": None, "finish_reason": finish}
    delta = {"role": "assistant", "content": text} if index == 0 else {"content": text}
    return {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}


def _tool_choices(tool: str) -> list[dict[str, object]]:
    call = {
        "index": 0,
        "id": "call_mock",
        "type": "function",
        "function": {"name": tool, "arguments": ""},
    }
    deltas: list[dict[str, object]] = [
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"tool_calls": [{"index": 0, "function": {"arguments": '{"word":'}}]},
        {"tool_calls": [{"index": 0, "function": {"arguments": ' "w0"}'}}]},
        {},
    ]
    last = len(deltas) - 1
    return [
        {"index": 0, "delta": delta, "finish_reason": "tool_calls" if index == last else None}
        for index, delta in enumerate(deltas)
    ]


def _envelope(shape: Shape, *, streamed: bool) -> dict[str, object]:
    if shape.route == "completions":
        identity, kind = "cmpl-mock", "text_completion"
    else:
        identity, kind = "chatcmpl-mock", "chat.completion.chunk" if streamed else "chat.completion"
    return {"id": identity, "object": kind, "created": CREATED, "model": shape.model}


def _event(payload: dict[str, object]) -> bytes:
    return chunked(b"data: " + msgspec.json.encode(payload) + b"\n\n")


@lru_cache(maxsize=256)
def stream_parts(shape: Shape) -> StreamParts:
    """Return the events of one stream, each already wrapped for a chunked body."""
    envelope = _envelope(shape, streamed=True)
    choices = _tool_choices(shape.tool) if shape.tool else _text_choices(shape)
    return StreamParts(
        events=tuple(_event({**envelope, "choices": [choice]}) for choice in choices),
        usage=_event({**envelope, "choices": [], "usage": _usage(shape)}),
        done=chunked(DONE),
    )


@lru_cache(maxsize=256)
def plain_answer(shape: Shape) -> bytes:
    """Return a whole HTTP answer for a request that is not streamed."""
    text = text_of(shape.chunks, shape.start)
    choice: dict[str, object] = {"index": 0, "logprobs": None, "finish_reason": shape.finish}
    if shape.tool:
        function = {"name": shape.tool, "arguments": '{"word": "w0"}'}
        call = {"id": "call_mock", "type": "function", "function": function}
        choice["message"] = {"role": "assistant", "content": None, "tool_calls": [call]}
        choice["finish_reason"] = "tool_calls"
    elif shape.route == "chat":
        choice["message"] = {"role": "assistant", "content": text}
    else:
        choice["text"] = text
    payload = {**_envelope(shape, streamed=False), "choices": [choice], "usage": _usage(shape)}
    return json_answer(msgspec.json.encode(payload))


def embeddings_answer(request: Generation, options: Options) -> bytes:
    """Return one vector of constant numbers for each input."""
    given = request.input
    single = isinstance(given, str) or (bool(given) and isinstance(given[0], int))
    count = 1 if single else len(given)
    vector = [round(0.5 - index / 16, 4) for index in range(options.embedding_size)]
    data = [{"object": "embedding", "index": k, "embedding": vector} for k in range(count)]
    usage = {"prompt_tokens": options.prompt_tokens, "total_tokens": options.prompt_tokens}
    payload = {"object": "list", "data": data, "model": request.model, "usage": usage}
    return json_answer(msgspec.json.encode(payload))

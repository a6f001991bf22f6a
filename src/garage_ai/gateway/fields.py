"""The table of fields: which of a request's fields reach an engine, and within which bounds.

Only fields of the official OpenAI API pass. Each has one of four fates:

    pass    checked and sent to the engine, its bytes unchanged
    rename  the same, under the name that every engine knows
    keep    checked, and done by the gateway itself
    drop    official, but private to the caller, or nothing that an engine here can do

Every other field, also inside messages, tools and formats, is cut out. What is dropped or cut out
is named in `x-gai-dropped`: engines take their own controls (cache salts, templates, priorities,
guided decoding) from the same object.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final, Literal

import msgspec
from msgspec import inspect

from garage_ai.gateway import shapes
from garage_ai.wire.frames import Route

Fate = Literal["pass", "rename", "keep", "drop"]


@dataclass(frozen=True)
class Field:
    """One field of one route: its shape, its fate and the reason in a sentence."""

    name: str
    fate: Fate
    why: str
    shape: Any = None
    sent_as: str = ""
    required: bool = False

    @cached_property
    def decoder(self) -> "msgspec.json.Decoder[Any]":
        """The strict reader of the shape; null stands for "not given" where it is not required."""
        return shapes.decoder(self.shape if self.required else self.shape | None)

    @cached_property
    def layout(self) -> inspect.Type:
        """The shape as `prune` reads it."""
        return inspect.type_info(self.shape)

    @cached_property
    def prefix(self) -> bytes:
        """What stands before the value in the body for the engine."""
        return b',"%s":' % (self.sent_as or self.name).encode()


def _passes(name: str, shape: Any, why: str, *, required: bool = False) -> Field:
    return Field(name, "pass", why, shape, required=required)


_PRIVATE: Final = (
    Field("user", "drop", "Who the caller's user is stays with the caller."),
    Field("metadata", "drop", "For OpenAI's own dashboards."),
    Field("store", "drop", "Nothing is ever stored here."),
    Field("service_tier", "drop", "There is one tier."),
    Field("prompt_cache_key", "drop", "Routing decides by itself; engines must not see it."),
    Field("prompt_cache_retention", "drop", "Engines decide how long a prefix lives."),
    Field("prompt_cache_options", "drop", "Engines decide what is cached."),
    Field("safety_identifier", "drop", "Who the caller's user is stays with the caller."),
)

_STREAMED: Final = (
    Field("stream", "keep", "Set anew for the engine.", bool),
    Field(
        "stream_options",
        "keep",
        "Engines are always asked for usage; the client gets what it asked for.",
        shapes.StreamOptions,
    ),
)

_SAMPLING: Final = (
    _passes("frequency_penalty", shapes.Penalty, "-2 to 2."),
    _passes("presence_penalty", shapes.Penalty, "-2 to 2."),
    _passes("logit_bias", shapes.LogitBias, "Token ids to -100 … 100, at most 1024."),
    _passes("n", shapes.Choices, "1 to 8 answers."),
    _passes("seed", shapes.Seed, "64 bits."),
    _passes("stop", shapes.Stops, "At most 4 strings."),
    _passes("temperature", shapes.Temperature, "0 to 2."),
    _passes("top_p", shapes.Share, "0 to 1."),
)

_MODEL: Final = _passes("model", shapes.ModelName, "A name from /v1/models.", required=True)

_CHAT: Final = (
    _MODEL,
    _passes("messages", shapes.Messages, "1 to 4096; media as `data:` URLs only.", required=True),
    _passes("max_tokens", shapes.TokenLimit, "1 to 131072."),
    Field(
        "max_completion_tokens",
        "rename",
        "Sent as max_tokens, which every engine knows; wins over max_tokens.",
        shapes.TokenLimit,
        "max_tokens",
    ),
    _passes("logprobs", bool, "Whether to tell log probabilities."),
    _passes("top_logprobs", shapes.Logprobs, "0 to 20."),
    _passes("parallel_tool_calls", bool, "Whether tools may be called together."),
    _passes("reasoning_effort", shapes.Effort, "How long to think."),
    _passes("response_format", shapes.ResponseFormat, "Its schema at most 64 KiB."),
    _passes("tools", shapes.Tools, "At most 128; each schema at most 64 KiB."),
    _passes("tool_choice", shapes.ToolChoice, "none, auto, required or one tool."),
    _passes("functions", shapes.Functions, "The older form of tools."),
    _passes("function_call", shapes.FunctionChoice, "The older form of tool_choice."),
    Field("modalities", "keep", 'Only ["text"].', list[Literal["text", "audio"]]),
    Field("audio", "drop", "No engine here speaks."),
    Field("moderation", "drop", "No moderation runs here."),
    Field("prediction", "drop", "No engine here takes a predicted output."),
    Field("verbosity", "drop", "No engine here knows it."),
    Field("web_search_options", "drop", "Nothing here searches the web."),
    *_SAMPLING,
    *_STREAMED,
    *_PRIVATE,
)

# Four shapes that JSON tells apart only by their first element; `request` reads them.
TEXT_OR_TOKENS: Final = frozenset({"prompt", "input"})

_COMPLETIONS: Final = (
    _MODEL,
    _passes("prompt", object, "Text, tokens, or at most 128 of either.", required=True),
    _passes("best_of", shapes.Choices, "1 to 8."),
    _passes("echo", bool, "Whether the prompt comes back too."),
    _passes("logprobs", shapes.Logprobs, "0 to 20."),
    _passes("max_tokens", shapes.TokenLimit, "1 to 131072."),
    _passes("suffix", str, "Text after the gap."),
    *_SAMPLING,
    *_STREAMED,
    *_PRIVATE,
)

_EMBEDDINGS: Final = (
    _MODEL,
    _passes("input", object, "Text, tokens, or at most 2048 of either.", required=True),
    _passes("dimensions", shapes.Dimensions, "Length of the vectors."),
    _passes("encoding_format", Literal["float", "base64"], "float or base64."),
    *_PRIVATE,
)

FIELDS: Final[dict[Route, dict[str, Field]]] = {
    "chat": {field.name: field for field in _CHAT},
    "completions": {field.name: field for field in _COMPLETIONS},
    "embeddings": {field.name: field for field in _EMBEDDINGS},
}

__all__ = ["FIELDS", "TEXT_OR_TOKENS", "Fate", "Field"]

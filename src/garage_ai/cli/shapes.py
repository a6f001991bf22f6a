"""What a gateway answers, as far as the commands use it; fields that are not named are ignored."""

from typing import Literal

import msgspec


class ErrorDetail(msgspec.Struct, frozen=True):
    """An error in OpenAI's envelope."""

    message: str
    code: str | None = None


class Refusal(msgspec.Struct, frozen=True):
    """The envelope."""

    error: ErrorDetail


class ModelExtra(msgspec.Struct, frozen=True):
    """What OpenAI's format has no place for; `context` in tokens."""

    digest: str = ""
    kind: str = ""
    context: int = 0
    nodes: int = 0
    slots: int = 0
    alias_of: str | None = None


class Model(msgspec.Struct, frozen=True):
    """A model being served."""

    id: str
    gai: ModelExtra = ModelExtra()


class Models(msgspec.Struct, frozen=True):
    data: tuple[Model, ...]


class Key(msgspec.Struct, frozen=True):
    """A key without its secret; times are ISO 8601."""

    id: str
    name: str
    scopes: tuple[str, ...] = ()
    member: str | None = None
    created_at: str | None = None
    last_used_at: str | None = None
    revoked_at: str | None = None


class Keys(msgspec.Struct, frozen=True):
    data: tuple[Key, ...]


class Member(msgspec.Struct, frozen=True):
    """Whoever owns keys, tokens and nodes; the time is ISO 8601."""

    id: str
    name: str
    created_at: str | None = None


class Members(msgspec.Struct, frozen=True):
    data: tuple[Member, ...]


class MadeKey(msgspec.Struct, frozen=True):
    """A new key with its secret."""

    id: str
    name: str
    key: str


class MadeToken(msgspec.Struct, frozen=True):
    """A new enrolment token."""

    id: str
    token: str
    expires_at: str | None = None


class Node(msgspec.Struct, frozen=True):
    """A node as an administrator sees it."""

    id: str
    name: str
    sandbox: str
    bare_allowed: bool


class UsageTotal(msgspec.Struct, frozen=True):
    """Sums over the requests that share one value; `untold` of them came without tokens."""

    group: str | None
    requests: int
    prompt_tokens: int
    completion_tokens: int
    untold: int = 0
    duration_s: float = 0.0


class Usage(msgspec.Struct, frozen=True):
    totals: tuple[UsageTotal, ...]


class Message(msgspec.Struct, frozen=True):
    """One turn of a conversation."""

    role: Literal["system", "user", "assistant"]
    content: str


class Delta(msgspec.Struct, frozen=True):
    content: str | None = None


class Choice(msgspec.Struct, frozen=True):
    delta: Delta = Delta()
    finish_reason: str | None = None


class TokenCount(msgspec.Struct, frozen=True):
    """The engine's word, in tokens."""

    prompt_tokens: int = 0
    completion_tokens: int = 0


class Chunk(msgspec.Struct, frozen=True):
    """One event of a stream: a piece of the answer, the count at its end, or an error."""

    choices: tuple[Choice, ...] = ()
    usage: TokenCount | None = None
    error: ErrorDetail | None = None

    @property
    def text(self) -> str:
        """The piece of the answer; empty for other events."""
        return "".join(choice.delta.content or "" for choice in self.choices)


__all__ = [
    "Choice",
    "Chunk",
    "Delta",
    "ErrorDetail",
    "Key",
    "Keys",
    "MadeKey",
    "MadeToken",
    "Member",
    "Members",
    "Message",
    "Model",
    "ModelExtra",
    "Models",
    "Refusal",
    "TokenCount",
    "Usage",
    "UsageTotal",
]

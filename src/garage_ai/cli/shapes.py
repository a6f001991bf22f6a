"""What a gateway answers, as far as the commands use it; fields that are not named are ignored."""

from typing import Generic, Literal, TypeVar

import msgspec

_T = TypeVar("_T")


class Page(msgspec.Struct, Generic[_T], frozen=True):
    """A part of a long list; `after` is to be asked with for the next one, None at the end."""

    data: tuple[_T, ...]
    after: str | None = None


class ErrorDetail(msgspec.Struct, frozen=True):
    """An error in OpenAI's envelope."""

    message: str
    code: str | None = None


class Refusal(msgspec.Struct, frozen=True):
    """The envelope."""

    error: ErrorDetail


class ModelPrice(msgspec.Struct, frozen=True):
    """What 1,000 tokens cost, in nGAI, as strings."""

    prompt: str = "0"
    completion: str = "0"


class ModelExtra(msgspec.Struct, frozen=True):
    """What OpenAI's format has no place for; `context` in tokens."""

    digest: str = ""
    kind: str = ""
    context: int = 0
    nodes: int = 0
    slots: int = 0
    alias_of: str | None = None
    price: ModelPrice | None = None


class Model(msgspec.Struct, frozen=True):
    """A model being served."""

    id: str
    gai: ModelExtra = ModelExtra()


class Models(msgspec.Struct, frozen=True):
    data: tuple[Model, ...]


class CallMapping(msgspec.Struct, frozen=True):
    """Who pays for the calls of a LiteLLM key, user or team; the time is ISO 8601."""

    kind: str
    value: str
    member: str
    created_at: str | None = None


class CallMappings(msgspec.Struct, frozen=True):
    data: tuple[CallMapping, ...]


class Told(msgspec.Struct, frozen=True):
    """That calls arrived."""


class Difference(msgspec.Struct, frozen=True):
    """Something on which LiteLLM and the gateway differ."""

    kind: str
    at: str
    call_id: str | None = None
    request_id: str | None = None
    model: str = ""
    litellm: str | None = None
    gateway: str | None = None


class Compared(msgspec.Struct, frozen=True):
    """A page of calls that were compared."""

    counts: dict[str, int]
    differences: tuple[Difference, ...]
    after: str | None = None


class Limits(msgspec.Struct, frozen=True):
    """What a key or a member may use; None is no limit. GAI are whole nGAI as text."""

    rpm: int | None = None
    tpm: int | None = None
    streams: int | None = None
    daily_tokens: int | None = None
    monthly_tokens: int | None = None
    daily_gai: str | None = None
    monthly_gai: str | None = None
    models: tuple[str, ...] | None = None
    regions: tuple[str, ...] | None = None
    expires_at: str | None = None


class Key(msgspec.Struct, frozen=True):
    """A key without its secret; times are ISO 8601."""

    id: str
    name: str
    scopes: tuple[str, ...] = ()
    member: str | None = None
    region: str | None = None
    created_at: str | None = None
    last_used_at: str | None = None
    revoked_at: str | None = None
    limits: Limits | None = None


class LimitsShown(msgspec.Struct, frozen=True):
    """Limits, and what is used of those that are counted."""

    limits: Limits
    used: dict[str, int | str] = {}


class Member(msgspec.Struct, frozen=True):
    """Whoever owns keys, tokens and nodes; the time is ISO 8601."""

    id: str
    name: str
    created_at: str | None = None
    state: str = "active"


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


class Removed(msgspec.Struct, frozen=True):
    """A node that was removed; `cut_off` tells whether every NATS server has heard of it."""

    id: str
    cut_off: bool


class Claim(msgspec.Struct, frozen=True):
    """A name that a member wants to serve a model of its own under: `approved` or `pending`."""

    name: str
    member: str
    digest: str
    state: str


class Claims(msgspec.Struct, frozen=True):
    claims: tuple[Claim, ...]


class Figures(msgspec.Struct, frozen=True):
    """How an engine's token figures stand beside the gateway's own."""

    judged: int = 0
    off: int = 0
    flagged: bool = False


class Offered(msgspec.Struct, frozen=True):
    """A model on a node: its own word of its speed, and what the gateway saw; 0: not known."""

    name: str
    context: int = 0
    slots: int = 0
    running: int = 0
    engine: str = ""
    decode_speed: float = 0.0
    measured_speed: float = 0.0
    measured_ttft: float = 0.0
    figures: Figures = Figures()


class Electricity(msgspec.Struct, frozen=True):
    """What a node drew this month and what a million tokens take; `assumed` is no measurement."""

    kwh: float | None = None
    kronor: float | None = None
    kwh_per_million: float | None = None
    kronor_per_million: float | None = None
    area: str = ""
    price: float = 0.0
    assumed: tuple[str, ...] = ()


class Rig(msgspec.Struct, frozen=True):
    """A node with what it does."""

    id: str
    name: str
    state: str
    region: str | None = None
    reason: str = ""
    models: tuple[Offered, ...] = ()
    electricity: Electricity = Electricity()


class Image(msgspec.Struct, frozen=True):
    """An image of engines, how it stands, and which nodes say they run it; the time is ISO 8601."""

    digest: str
    state: Literal["built", "approved", "pending", "revoked"]
    note: str = ""
    content: str | None = None
    base: str = ""
    decided_at: str | None = None
    nodes: tuple[str, ...] = ()


class Images(msgspec.Struct, frozen=True):
    data: tuple[Image, ...]


class Price(msgspec.Struct, frozen=True):
    """What 1,000 tokens of a model cost from a moment on, in whole nGAI; times are ISO 8601.

    Batches pay so many thousandths of it.
    """

    id: str
    model: str
    prompt: str
    completion: str
    effective_from: str
    name: str | None = None
    set_by: str | None = None
    note: str = ""
    batch_permille: int = 500


class Prices(msgspec.Struct, frozen=True):
    data: tuple[Price, ...]
    coming: tuple[Price, ...] = ()


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
    "CallMapping",
    "CallMappings",
    "Choice",
    "Chunk",
    "Compared",
    "Delta",
    "Difference",
    "ErrorDetail",
    "Image",
    "Images",
    "Key",
    "Limits",
    "LimitsShown",
    "MadeKey",
    "MadeToken",
    "Member",
    "Message",
    "Model",
    "ModelExtra",
    "ModelPrice",
    "Models",
    "Page",
    "Refusal",
    "TokenCount",
    "Told",
    "Usage",
    "UsageTotal",
]

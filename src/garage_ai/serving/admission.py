"""What a request may use and where it may go, before any node hears of it."""

from collections.abc import Collection
from typing import Final, Protocol

from garage_ai.accounts import Demand, Key, ModelForbidden, Ticket
from garage_ai.catalog import CHAT_ALIAS
from garage_ai.ledger.counting.requests import MEDIUM_TOKENS
from garage_ai.serving.errors import RegionForbidden
from garage_ai.serving.models import Bound, Call
from garage_ai.wire.frames import Priority

UNKNOWN_CONTEXT: Final = 8192
"""Tokens of an answer that nothing bounds, of a model whose context nobody knows."""


class Limits(Protocol):
    """What keys and members may use."""

    def models(self, key: Key) -> frozenset[str] | None:
        """Name the models that a key may use; None: all."""

    def regions(self, key: Key) -> frozenset[str] | None:
        """Name the regions that may answer a key; None: all."""

    async def admit(self, key: Key, demand: Demand) -> Ticket:
        """Let a request in, or not. Raises: LimitReached."""
        ...


class Asked(Protocol):
    """What is asked, as far as it bounds what may be used."""

    @property
    def body(self) -> bytes:
        """The JSON for the engine."""
        ...

    @property
    def bound(self) -> Bound:
        """How much the answer may be."""
        ...


class Places(Protocol):
    """Where models are served now."""

    def region_for(
        self,
        model: str,
        allowed: Collection[str],
        member: str = "",
        *,
        job: str = "",
        priority: Priority = "chat",
    ) -> str | None:
        """Choose one of several regions, for who asks; None where there are none."""
        ...


def models_for(key: Key, model: str, limits: Limits) -> frozenset[str] | None:
    """Name what a model may stand for to a key; it may be given the alias itself."""
    allowed = limits.models(key)
    is_given = allowed is not None and model == CHAT_ALIAS and CHAT_ALIAS in allowed
    return None if is_given else allowed


def check_model(model: str, allowed: frozenset[str] | None) -> None:
    """Refuse a served name that the key may not use. Raises: ModelForbidden."""
    # The alias stands for itself only where no allowed model is served, and is told so later.
    if allowed is not None and model not in allowed and model != CHAT_ALIAS:
        raise ModelForbidden(f"This key may not use the model {model[:200]!r}.")


def region_for(call: Call, model: str, limits: Limits, places: Places) -> str | None:
    """Give the region the request must stay in; the key's own cannot be left.

    Raises: RegionForbidden.
    """
    bound, allowed = call.key.region, limits.regions(call.key)
    if bound is not None and call.region is not None and call.region != bound:
        raise RegionForbidden(f"This key may only be used in {bound}.")
    region = bound or call.region
    if allowed is None:
        return region
    if region is None:
        who = call.key.member
        region = places.region_for(model, allowed, who, job=call.job, priority=call.priority)
    if region not in allowed:
        named = ", ".join(sorted(allowed)) or "no region"
        raise RegionForbidden(f"This key may only be used in {named}.")
    return region


def worst_case(asked: Asked, context: int | None) -> tuple[int, int]:
    """Bound the tokens of prompt and answers: by the bytes, by what is asked, by the context.

    Media come on top, so that no less is promised than is billed for them.
    """
    longest, bound = context or UNKNOWN_CONTEXT, asked.bound
    if not bound.answers:
        return len(asked.body), 0  # many inputs, each with a context of its own
    answer = longest if bound.tokens is None else min(bound.tokens, longest)
    prompt = min(len(asked.body), longest * bound.prompts) + bound.media * MEDIUM_TOKENS
    return prompt, answer * bound.answers


def demand_of(call: Call, tokens: tuple[int, int], charge: int | None) -> Demand:
    """Tell what a request may use at worst, in tokens and in nGAI."""
    bound = call.bound
    # No engine answers beyond its context, whatever a client allows.
    asked = None if bound.tokens is None else tokens[1]
    return Demand(sum(tokens), asked, charge, live=call.priority == "chat")


__all__ = [
    "UNKNOWN_CONTEXT",
    "Asked",
    "Limits",
    "Places",
    "check_model",
    "demand_of",
    "models_for",
    "region_for",
    "worst_case",
]

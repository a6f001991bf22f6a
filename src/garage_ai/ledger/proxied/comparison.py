"""Two accounts of one call, compared: LiteLLM's and the gateway's. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Literal

from garage_ai.ledger.proxied.models import ProxiedCall
from garage_ai.storage import OPERATOR, UsageRecord

DifferenceKind = Literal[
    "only_litellm",
    "only_gateway",
    "double",
    "outcome",
    "prompt_tokens",
    "completion_tokens",
    "cost",
]

Comparison = (
    Literal["equal", "recounted", "within_tolerance", "unserved", "unknown_end"] | DifferenceKind
)
"""`unserved`: LiteLLM refused it or answered it out of its cache, or it failed on its way, so that
only LiteLLM knows of it. `recounted`: equal, but the gateway counts what it bills by itself, so
that the costs are not of the same tokens.
`unknown_end`: the proxy died in it; the gateway's account stands alone."""

ABORT_TOKENS: Final = 64
ABORT_SHARE: Final = 0.5
"""How far the counts of a call that did not come to its end may lie apart, whichever is more.

LiteLLM estimates them from the text that it had passed on, with a tokenizer that is not the
model's; the gateway counts what it had delivered, some events further on. Only the gateway's is
billed.
"""

COST_ROUNDING: Final = 2
"""nGAI: the gateway rounds up once per request, LiteLLM adds floats."""

_UNSERVED: Final = frozenset({"failed", "left"})


@dataclass(frozen=True, slots=True)
class Difference:
    """One thing on which the two sides differ, as each has it."""

    kind: DifferenceKind
    at: datetime
    call_id: str | None
    request_id: str | None
    model: str
    litellm: str | None
    gateway: str | None


def compare(
    call: ProxiedCall | None, records: Sequence[UsageRecord]
) -> tuple[Comparison, list[Difference]]:
    """Compare a call with the gateway's records of it; one of the two may be missing.

    The first word of the result is the worst that was found.
    """
    if call is None:
        return _verdict([_difference("only_gateway", None, record) for record in records])
    if call.outcome == "lost":
        return "unknown_end", []
    if not records:
        refused = call.outcome in _UNSERVED and not call.completion_tokens
        unserved = refused or not call.sent
        return ("unserved", []) if unserved else _verdict([_difference("only_litellm", call, None)])
    if len(records) > 1:
        return _verdict([_difference("double", call, record) for record in records])
    return _both(call, records[0])


def _both(call: ProxiedCall, record: UsageRecord) -> tuple[Comparison, list[Difference]]:
    if not _outcomes_agree(call, record):
        return _verdict([_difference("outcome", call, record, call.outcome, record.outcome)])
    whole = call.outcome == "ok"
    found = _tokens(call, record, whole=whole)
    recounted = _is_recounted(record)
    costs = whole and not recounted and not _is_free(record)
    if costs and not _same_cost(call.cost, record.charge):
        found.append(_difference("cost", call, record, str(call.cost), str(record.charge)))
    if found:
        return _verdict(found)
    if whole:
        return ("recounted" if recounted else "equal"), []
    return "within_tolerance", []


def _is_recounted(record: UsageRecord) -> bool:
    """Tell whether the gateway bills by another count than the engine's, which LiteLLM goes by."""
    counted = (record.counted_prompt_tokens, record.counted_completion_tokens)
    if counted == (None, None):
        return False
    told = (record.prompt_tokens, record.completion_tokens)
    return [each or 0 for each in counted] != [each or 0 for each in told]


def _is_free(record: UsageRecord) -> bool:
    """Tell whether it cost nothing by its key, of which LiteLLM's prices know nothing."""
    return record.member == OPERATOR and record.charge == 0


def _same_cost(theirs: int | None, ours: int | None) -> bool:
    return theirs is None or ours is None or abs(theirs - ours) <= COST_ROUNDING


def _tokens(call: ProxiedCall, record: UsageRecord, *, whole: bool) -> list[Difference]:
    found: list[Difference] = []
    prompt, completion = record.prompt_tokens, record.completion_tokens
    if not whole:
        # An engine that is stopped tells no figures: then the gateway's own count stands for them.
        prompt = record.counted_prompt_tokens if prompt is None else prompt
        completion = record.counted_completion_tokens if completion is None else completion
    pairs: tuple[tuple[DifferenceKind, int | None, int | None], ...] = (
        ("prompt_tokens", call.prompt_tokens, prompt),
        ("completion_tokens", call.completion_tokens, completion),
    )
    for kind, theirs, ours in pairs:
        if not _agree(theirs, ours, whole=whole):
            found.append(_difference(kind, call, record, _shown(theirs), _shown(ours)))
    return found


def _agree(theirs: int | None, ours: int | None, *, whole: bool) -> bool:
    if whole:
        # LiteLLM says 0 where an answer has no completion: embeddings.
        return (theirs or 0) == (ours or 0)
    if theirs is None or ours is None:
        return True
    return abs(theirs - ours) <= max(ABORT_TOKENS, ABORT_SHARE * max(theirs, ours))


def _outcomes_agree(call: ProxiedCall, record: UsageRecord) -> bool:
    match call.outcome:
        case "ok":
            return record.outcome == "ok"
        case "left":
            # Whoever leaves while the last words are on their way leaves an answer that was whole.
            return record.outcome in ("client_closed", "ok")
        case "failed":
            return record.outcome != "ok"
        case "lost":
            return True


def _difference(
    kind: DifferenceKind,
    call: ProxiedCall | None,
    record: UsageRecord | None,
    litellm: str | None = None,
    gateway: str | None = None,
) -> Difference:
    if kind in ("only_litellm", "only_gateway", "double"):
        litellm = call.outcome if call is not None else None
        gateway = record.outcome if record is not None else None
    at = call.begun_at if call is not None else record.at if record is not None else None
    if at is None:
        raise AssertionError("a difference between nothing and nothing")
    return Difference(
        kind=kind,
        at=at,
        call_id=call.call_id if call is not None else record.caller_id if record else None,
        request_id=record.request_id if record is not None else call.request_id if call else None,
        model=call.model if call is not None else record.model if record is not None else "",
        litellm=litellm,
        gateway=gateway,
    )


def _verdict(found: list[Difference]) -> tuple[Comparison, list[Difference]]:
    return (found[0].kind if found else "equal"), found


def _shown(count: int | None) -> str | None:
    return None if count is None else str(count)


__all__ = [
    "ABORT_SHARE",
    "ABORT_TOKENS",
    "COST_ROUNDING",
    "Comparison",
    "Difference",
    "DifferenceKind",
    "compare",
]

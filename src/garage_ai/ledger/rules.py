"""What a transfer may be: which kinds go between which accounts. Pure."""

from functools import lru_cache
from typing import Final, Literal, cast

from garage_ai.ledger.errors import InvalidTransfer
from garage_ai.ledger.models import AccountId, Kind, Transfer

AccountClass = Literal["issuance", "pool", "fee", "adjustments", "member", "escrow"]

MAX_AMOUNT: Final = 10**17
"""Most nGAI in one transfer, a hundred million GAI: 92 of them fit into a 64-bit balance."""

MAX_ID: Final = 200
MAX_NOTE: Final = 500
MAX_REQUEST: Final = 64

_SINGLE: Final = frozenset({"issuance", "pool", "fee", "adjustments"})
_NAMED: Final = frozenset({"member", "escrow"})

_PATHS: Final[dict[Kind, frozenset[tuple[AccountClass, AccountClass]]]] = {
    Kind.GRANT: frozenset({("issuance", "member")}),
    Kind.MINT: frozenset({("issuance", "pool")}),
    Kind.STIPEND: frozenset({("pool", "member"), ("pool", "escrow")}),
    Kind.USE: frozenset({("member", "member"), ("member", "escrow")}),
    Kind.FEE: frozenset({("member", "fee")}),
    Kind.UNMETERED: frozenset({("member", "pool")}),
    Kind.RELEASE: frozenset({("escrow", "member")}),
    Kind.FORFEIT: frozenset({("escrow", "pool")}),
    Kind.PASSED_ON: frozenset({("member", "member")}),
}


def class_of(account: AccountId) -> AccountClass:
    """Tell what an account is. Raises: InvalidTransfer."""
    name, colon, owner = account.partition(":")
    if name in (_NAMED if colon else _SINGLE) and bool(colon) == bool(owner) and len(account) <= 80:
        return cast("AccountClass", name)
    raise InvalidTransfer(f"no account {account[:100]!r}")


def may_go_below_zero(account: AccountId) -> bool:
    """Tell whether an account may owe: only where GAI come from, and the other side of repairs."""
    return account in {"issuance", "adjustments"}


def check_transfer(transfer: Transfer) -> None:
    """Refuse what may not be, whatever the accounts hold. Raises: InvalidTransfer."""
    _check_way(transfer.kind, transfer.debit, transfer.credit)
    if not 0 < transfer.amount <= MAX_AMOUNT:
        raise InvalidTransfer(f"an amount is from 1 to {MAX_AMOUNT} nGAI, not {transfer.amount}")
    # Of all kinds of white space, only the plain space is printable.
    key, request, note = transfer.id, transfer.request_id, transfer.note
    if not (0 < len(key) <= MAX_ID and key.isprintable() and " " not in key):
        raise InvalidTransfer(f"an id is 1 to {MAX_ID} printable characters without spaces")
    if request is not None and not (
        0 < len(request) <= MAX_REQUEST and request.isprintable() and " " not in request
    ):
        raise InvalidTransfer(f"a request's id is 1 to {MAX_REQUEST} printable characters")
    if note is not None and (len(note) > MAX_NOTE or "\0" in note):
        raise InvalidTransfer(f"a note is at most {MAX_NOTE} characters, none of them NUL")
    if transfer.kind is Kind.ADJUSTMENT and not (note or "").strip():
        raise InvalidTransfer("an adjustment says why")
    if transfer.at.tzinfo is None:
        raise InvalidTransfer("a moment has a time zone")


@lru_cache(maxsize=10_000)
def _check_way(kind: Kind, debit: AccountId, credit: AccountId) -> None:
    """Refuse what does not go between two accounts. Raises: InvalidTransfer."""
    path = class_of(debit), class_of(credit)
    if kind is Kind.ADJUSTMENT:
        allowed = (path[0] == "adjustments") != (path[1] == "adjustments")
    else:
        allowed = path in _PATHS[kind]
    if not allowed:
        raise InvalidTransfer(f"{kind} does not go from {path[0]} to {path[1]}")
    # Whoever uses an own node pays it: the sum is nothing, and the books tell what it did.
    if debit == credit and kind is not Kind.USE:
        raise InvalidTransfer(f"{kind} from an account to itself")


__all__ = [
    "MAX_AMOUNT",
    "MAX_ID",
    "MAX_NOTE",
    "MAX_REQUEST",
    "AccountClass",
    "check_transfer",
    "class_of",
    "may_go_below_zero",
]

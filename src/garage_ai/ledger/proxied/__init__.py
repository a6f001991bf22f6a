"""Calls that a LiteLLM proxy in front took: kept, passed on to its members, and compared."""

from garage_ai.ledger.proxied.booking import Booker, Books
from garage_ai.ledger.proxied.calls import ProxiedCalls
from garage_ai.ledger.proxied.comparison import Comparison, Difference, DifferenceKind, compare
from garage_ai.ledger.proxied.errors import (
    InvalidMapping,
    MappingNotFound,
    ProxiedError,
    UnknownMember,
)
from garage_ai.ledger.proxied.mappings import Mappings
from garage_ai.ledger.proxied.models import (
    CallOutcome,
    Mapping,
    MappingKind,
    ProxiedCall,
    TellResult,
)
from garage_ai.ledger.proxied.reconciliation import Page, Reconciliation
from garage_ai.ledger.proxied.service import Proxied

__all__ = [
    "Booker",
    "Books",
    "CallOutcome",
    "Comparison",
    "Difference",
    "DifferenceKind",
    "InvalidMapping",
    "Mapping",
    "MappingKind",
    "MappingNotFound",
    "Mappings",
    "Page",
    "Proxied",
    "ProxiedCall",
    "ProxiedCalls",
    "ProxiedError",
    "Reconciliation",
    "TellResult",
    "UnknownMember",
    "compare",
]

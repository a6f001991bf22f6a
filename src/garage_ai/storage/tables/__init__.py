"""Every table, in column types that SQLite and PostgreSQL share; one module for each capability."""

from garage_ai.storage.tables.accounts import (
    benchmarks,
    enrolment_tokens,
    external_models,
    images,
    invited,
    invites,
    keys,
    members,
    nodes,
    retired_node_keys,
)
from garage_ai.storage.tables.audit import audit, audit_heads
from garage_ai.storage.tables.base import Utc, metadata
from garage_ai.storage.tables.batch import batch_items, batches, files
from garage_ai.storage.tables.catalogue import manifests
from garage_ai.storage.tables.economy import TURNS, prices, rewards, warm_hours
from garage_ai.storage.tables.ledger import (
    balances,
    leases,
    queued_entries,
    transfers,
    unaccounted,
)
from garage_ai.storage.tables.limits import limit_pools, limits
from garage_ai.storage.tables.litellm import (
    CALLERS,
    litellm_calls,
    litellm_mappings,
    litellm_payer,
    may_be_of,
)
from garage_ai.storage.tables.requests import usage

__all__ = [
    "CALLERS",
    "TURNS",
    "Utc",
    "audit",
    "audit_heads",
    "balances",
    "batch_items",
    "batches",
    "benchmarks",
    "enrolment_tokens",
    "external_models",
    "files",
    "images",
    "invited",
    "invites",
    "keys",
    "leases",
    "limit_pools",
    "limits",
    "litellm_calls",
    "litellm_mappings",
    "litellm_payer",
    "manifests",
    "may_be_of",
    "members",
    "metadata",
    "nodes",
    "prices",
    "queued_entries",
    "retired_node_keys",
    "rewards",
    "transfers",
    "unaccounted",
    "usage",
    "warm_hours",
]

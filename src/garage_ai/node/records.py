"""What follows from a node's record: a changed one, and whom it trusts."""

import os
import ssl
from typing import Final

import msgspec

from garage_ai.node.errors import Removed
from garage_ai.node.folder import URLS_VARIABLE, Choice, Record
from garage_ai.wire.trust import fingerprint_of, pinned_context, public_context

_ENCRYPTED: Final = ("tls://", "wss://")


def record_with(
    record: Record,
    *,
    choice: Choice | None = None,
    gateway: str | None = None,
    urls: tuple[str, ...] | None = None,
) -> Record:
    """Give the record with what is given in place of what was."""
    return msgspec.structs.replace(
        record,
        gateway=gateway or record.gateway,
        urls=urls or record.urls,
        choice=choice or record.choice,
    )


def own_urls() -> tuple[str, ...]:
    """Give where NATS is as the environment says, which counts before what a gateway tells."""
    return tuple(filter(None, os.environ.get(URLS_VARIABLE, "").split(",")))


def removed(record: Record) -> Removed:
    """Say that the network no longer knows the node."""
    return Removed(
        "The network no longer accepts this node ({node}): it was removed. "
        "To take part again, ask for a new token, then: gai node leave; gai node join URL TOKEN",
        node=record.node,
    )


def tls_for(record: Record) -> ssl.SSLContext | None:
    """Give what to trust: the network's own CA, or None for the system's. Raises: TrustError."""
    return tls_with(record.ca_pem)


def tls_with(ca_pem: str | None) -> ssl.SSLContext | None:
    """Give what to trust: this CA alone, or None for the system's. Raises: TrustError."""
    return None if ca_pem is None else pinned_context(ca_pem, fingerprint_of(ca_pem))


def nats_tls_for(record: Record, pinned: ssl.SSLContext | None) -> ssl.SSLContext | None:
    """Give what to trust on the way to NATS; None where nothing is encrypted."""
    if pinned is not None:
        return pinned
    # Loading the system's certificates costs megabytes, so only where they are needed.
    encrypted = any(url.startswith(_ENCRYPTED) for url in record.urls)
    return public_context() if encrypted else None


__all__ = ["nats_tls_for", "own_urls", "record_with", "removed", "tls_for", "tls_with"]

"""Who earns for what a node answered that leads a gang of rigs, and who may not be one. Pure.

A leader's document is hostile input like all that a node says. A rig has a share where it is
enrolled, may work, and has signed these very terms with the key that it is enrolled with; whatever
else the document names stays with the leader, whose answer it is. A rig is asked for what a node is
asked for that answers, by its own last word; one that was not heard of yet is not waited for.
"""

from functools import lru_cache
from typing import TYPE_CHECKING, Final, NamedTuple

from garage_ai.network.models import Node, Refusal
from garage_ai.wire.errors import Malformed
from garage_ai.wire.gangs import Document, Terms, read_document, signed_text
from garage_ai.wire.ids import NodeId
from garage_ai.wire.messages import ModelServed
from garage_ai.wire.nkey import NkeyError, Role, verify

if TYPE_CHECKING:
    from garage_ai.network.registry import Registry

_GANGS: Final = 1024
_SIGNATURES: Final = 4 * _GANGS
"""With the terms they are under, 12 MB at most, whatever leaders make up."""


class Part(NamedTuple):
    """A node of the books, and how many parts of an answer it earns for."""

    node: NodeId
    parts: int


def parts_of(registry: "Registry", node_id: NodeId, digest: str | None = None) -> tuple[Part, ...]:
    """Say who earns for what a node does, that node first; nobody if it is gone.

    `digest` is the model that it answered with, None for whatever its gang runs.
    """
    node = registry.nodes.get(node_id)
    if node is None:
        return ()
    found = _read(node.gang) if node.gang else None
    if found is None:
        return (Part(node_id, 1),)
    terms, document = found
    if terms.leader != node_id or digest not in (terms.digest, None):
        return (Part(node_id, 1),)
    signed = [
        Part(rig.node, rig.parts)
        for rig, signature in zip(terms.rigs, document.signatures, strict=True)
        if _agreed(registry.nodes.get(rig.node), document.terms, signature)
    ]
    if not signed or signed[0].node != node_id:
        return (Part(node_id, 1),)
    unclaimed = sum(rig.parts for rig in terms.rigs) - sum(part.parts for part in signed)
    return (Part(node_id, signed[0].parts + unclaimed), *signed[1:])


class RefusedRig(NamedTuple):
    """A rig that may not serve what its leader offers, and what the leader's owner is told."""

    node: NodeId
    refusal: Refusal


def refused_rig(registry: "Registry", leader: Node, served: ModelServed) -> RefusedRig | None:
    """Find the first rig beside the leader that may not work; None if all may."""
    found = _read(leader.beat.gang) if leader.beat is not None and leader.beat.gang else None
    if found is None or found[0].digest != served.digest:
        return None
    for rig in found[0].rigs:
        node = registry.nodes.get(rig.node)
        if node is None or node is leader or node.beat is None:
            continue
        refused = registry.terms.refusal(node, served)
        if refused is not None:
            return RefusedRig(node.id, Refusal("rig_refused", f"{node.id}: {refused.message}"))
    return None


def _agreed(node: Node | None, terms: bytes, signature: bytes) -> bool:
    if node is None or node.enrolled.suspended:
        return False
    return _has_signed(node.enrolled.public_key, terms, signature)


@lru_cache(_SIGNATURES)
def _has_signed(public_key: str, terms: bytes, signature: bytes) -> bool:
    """Tell whether a key has signed terms; remembered, since each answer asks again."""
    try:
        verify(public_key, Role.USER, signed_text(terms), signature)
    except NkeyError:
        return False
    return True


@lru_cache(_GANGS)
def _read(document: bytes) -> tuple[Terms, Document] | None:
    try:
        return read_document(document)
    except Malformed:
        return None


__all__ = ["Part", "RefusedRig", "parts_of", "refused_rig"]

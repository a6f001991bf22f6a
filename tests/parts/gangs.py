"""Rigs with keys, and what they have signed."""

from garage_ai.wire.gangs import Rig, Terms, signed_text, write_document, write_terms
from garage_ai.wire.ids import NodeId
from garage_ai.wire.messages import DigestText
from garage_ai.wire.nkey import KeyPair, Role

Keys = dict[NodeId, KeyPair]


def keys_of(*nodes: NodeId) -> Keys:
    """Give each node a key."""
    return {node: KeyPair.generate(Role.USER) for node in nodes}


def terms_among(parts: dict[NodeId, int], digest: DigestText, epoch: int = 1) -> Terms:
    """Let the first lead."""
    rigs = tuple([Rig(node, each) for node, each in parts.items()])
    return Terms(rigs[0].node, epoch, digest, rigs)


def signed(terms: Terms, keys: Keys) -> bytes:
    """Let those sign whose keys are given."""
    text = signed_text(write_terms(terms))
    return write_document(terms, {node: key.sign(text) for node, key in keys.items()})

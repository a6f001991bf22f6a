"""How the rigs of a gang share what it earns: one document that each of them has signed.

The rig that leads puts it into its heartbeats. The terms are signed byte for byte as they travel,
behind a label of their own, by the key that each rig is enrolled with. A document that says more
than a reader knows has another version, and is no document to it.
"""

from collections.abc import Mapping
from typing import Annotated, Final

import msgspec

from garage_ai.wire.errors import Malformed
from garage_ai.wire.ids import NodeId
from garage_ai.wire.messages import DigestText

VERSION: Final = 1
MAX_RIGS: Final = 16
MAX_PARTS: Final = 1 << 20
MAX_TERMS: Final = 2 * 1024
"""Bytes of terms: sixteen rigs with the longest names take 1.3 KB."""

_LABEL: Final = b"gai-gang-v1\n"
_SIGNATURE: Final = 64

_Id = Annotated[NodeId, msgspec.Meta(pattern=r"^[A-Za-z0-9_-]{1,64}$")]
_Signature = Annotated[bytes, msgspec.Meta(max_length=_SIGNATURE)]


class Rig(msgspec.Struct, frozen=True, array_like=True):
    """A rig, and how many parts of the work are its own."""

    node: _Id
    parts: Annotated[int, msgspec.Meta(ge=1, le=MAX_PARTS)]


class Terms(msgspec.Struct, frozen=True):
    """Who computes what of one model in one epoch; `rigs` by rank, the leader's first."""

    leader: _Id
    epoch: Annotated[int, msgspec.Meta(ge=0, le=1 << 62)]
    digest: DigestText
    rigs: Annotated[tuple[Rig, ...], msgspec.Meta(min_length=2, max_length=MAX_RIGS)]


class Document(msgspec.Struct, frozen=True):
    """Terms as they were signed, and signatures in the order of the rigs, empty where none is."""

    version: Annotated[int, msgspec.Meta(ge=VERSION, le=VERSION)]
    terms: Annotated[bytes, msgspec.Meta(max_length=MAX_TERMS)]
    signatures: Annotated[tuple[_Signature, ...], msgspec.Meta(max_length=MAX_RIGS)]


_encoder: Final = msgspec.msgpack.Encoder()
_terms: Final = msgspec.msgpack.Decoder(Terms)
_documents: Final = msgspec.msgpack.Decoder(Document)


def write_terms(terms: Terms) -> bytes:
    """Write terms; every rig writes the same for itself, and signs what it has written."""
    return _encoder.encode(terms)


def signed_text(terms: bytes) -> bytes:
    """Say what a rig signs."""
    return _LABEL + terms


def write_document(terms: Terms, signatures: Mapping[NodeId, bytes]) -> bytes:
    """Put terms and the signatures that there are into one document."""
    by_rank = tuple([signatures.get(rig.node, b"") for rig in terms.rigs])
    return _encoder.encode(Document(VERSION, write_terms(terms), by_rank))


def read_document(document: bytes) -> tuple[Terms, Document]:
    """Read a document; nothing is said of its signatures. Raises: Malformed."""
    try:
        found = _documents.decode(document)
        terms = _terms.decode(found.terms)
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError) as error:
        raise Malformed(str(error)[:200]) from error
    nodes = {rig.node for rig in terms.rigs}
    if len(nodes) != len(terms.rigs) or len(found.signatures) != len(terms.rigs):
        raise Malformed("each rig stands in a gang's terms once, and has one signature")
    if terms.rigs[0].node != terms.leader:
        raise Malformed("who leads a gang is its first rig")
    return terms, found


__all__ = [
    "MAX_PARTS",
    "MAX_RIGS",
    "MAX_TERMS",
    "VERSION",
    "Document",
    "Rig",
    "Terms",
    "read_document",
    "signed_text",
    "write_document",
    "write_terms",
]

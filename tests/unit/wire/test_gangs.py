"""A gang's document says one thing, or is none."""

import msgspec
import pytest
from tests.parts.gangs import keys_of, signed, terms_among

from garage_ai.wire.errors import Malformed
from garage_ai.wire.gangs import (
    MAX_PARTS,
    Document,
    Rig,
    Terms,
    read_document,
    signed_text,
    write_document,
    write_terms,
)
from garage_ai.wire.ids import NodeId
from garage_ai.wire.messages import MAX_GANG
from garage_ai.wire.nkey import BadSignature, Role, verify

A, B = NodeId("a"), NodeId("b")
DIGEST = "sha256:" + "d" * 64
TERMS = terms_among({A: 5, B: 3}, DIGEST)


def written(version: int = 1, terms: bytes = b"", signatures: tuple[bytes, ...] = ()) -> bytes:
    """Write a document that may say anything."""
    return msgspec.msgpack.encode(
        {"version": version, "terms": terms or write_terms(TERMS), "signatures": signatures}
    )


def test_what_was_written_is_read() -> None:
    """With the signatures in the order of the rigs, and a gap for who has not signed."""
    keys = keys_of(B)
    terms, document = read_document(signed(TERMS, keys))
    assert terms == TERMS
    assert document.signatures[0] == b""
    verify(keys[B].public, Role.USER, signed_text(document.terms), document.signatures[1])


def test_what_is_signed_can_be_nothing_else() -> None:
    """A signature over the terms alone, or over another label, says nothing."""
    keys = keys_of(B)
    text = write_terms(TERMS)
    with pytest.raises(BadSignature):
        verify(keys[B].public, Role.USER, signed_text(text), keys[B].sign(text))


@pytest.mark.parametrize(
    "document",
    [
        b"",
        b"\xc1",
        written(version=2, signatures=(b"", b"")),
        written(signatures=(b"",)),
        written(signatures=(b"", b"s" * 65)),
        written(terms=b"\x80", signatures=(b"", b"")),
        written(terms=write_terms(Terms(B, 1, DIGEST, TERMS.rigs)), signatures=(b"", b"")),
        written(terms=write_terms(Terms(A, 1, DIGEST, TERMS.rigs[:1])), signatures=(b"",)),
        written(terms=write_terms(Terms(A, 1, DIGEST, (Rig(A, 1),) * 2)), signatures=(b"", b"")),
        written(terms=write_terms(terms_among({A: 0, B: 1}, DIGEST)), signatures=(b"", b"")),
        written(
            terms=write_terms(terms_among({A: MAX_PARTS + 1, B: 1}, DIGEST)), signatures=(b"",) * 2
        ),
        written(
            terms=write_terms(terms_among({NodeId("a\nb"): 1, B: 1}, DIGEST)),
            signatures=(b"", b""),
        ),
    ],
)
def test_anything_else_is_no_document(document: bytes) -> None:
    """Another version, a rig twice, a leader that is not first, signatures too many or too few."""
    with pytest.raises(Malformed):
        read_document(document)


def test_the_largest_document_fits_into_a_beat() -> None:
    """Sixteen rigs with the longest names."""
    names = [NodeId(f"{number:064}") for number in range(16)]
    terms = terms_among(dict.fromkeys(names, MAX_PARTS), DIGEST, epoch=1 << 62)
    document = write_document(terms, dict.fromkeys(names, b"s" * 64))
    assert len(document) <= MAX_GANG
    assert isinstance(read_document(document)[1], Document)

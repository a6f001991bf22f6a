"""A log in a file: what was written is read again, and rubbish is told so."""

import json

import pytest
from tests.unit.audit.test_chain import NOON, SIGNER, log

from garage_ai.audit.chain import Check, signed_head
from garage_ai.audit.errors import BadExport
from garage_ai.audit.exports import Export, noted_head, read_export
from garage_ai.audit.models import Noted

ENTRIES = tuple(log(3))
HEAD = signed_head(3, ENTRIES[-1].hash, NOON, SIGNER)


@pytest.mark.parametrize("export", [Export(HEAD, ENTRIES), Export(None, ENTRIES), Export(None, ())])
def test_what_was_written_is_read_again(export: Export) -> None:
    """Entry by entry, and it checks as before."""
    read = read_export(b"".join(export.lines()))
    assert read == export
    check = Check([read.head] if read.head else [], SIGNER.public)
    for entry in read.entries:
        check.take(entry)
    assert check.finish().is_whole


def test_a_line_is_what_the_documentation_says() -> None:
    """Others can read it without this program."""
    head, first, *_ = (json.loads(line) for line in Export(HEAD, ENTRIES).lines())
    assert head["head"]["at"] == first["at"] == "2026-11-29T12:00:00.000000Z"
    assert (first["seq"], first["hash"]) == (1, ENTRIES[0].hash.hex())


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"no log",
        b"[]",
        b"{}",
        b'{"head":1}',
        b'{"head":{}}',
        b'{"head":null}\n{}',
        b'{"head":null}\n{"seq":1,"at":"yesterday","hash":"00"}',
        b'{"head":null}\n\xff',
        next(Export(HEAD, ()).lines()).replace(b'"size":3', b'"size":3,"more":1'),
        next(Export(HEAD, ()).lines()).replace(b'"size":3', b'"size":"3"'),
        b"".join(Export(None, ENTRIES).lines()).replace(b'"seq":2', b'"seq":"2"'),
        b"".join(Export(None, ENTRIES).lines()).replace(b'"seq":2', b'"seq":true'),
    ],
)
def test_rubbish_is_no_export(text: bytes) -> None:
    """One error, whatever the bytes."""
    with pytest.raises(BadExport):
        read_export(text)


def test_a_head_is_noted_as_whoever_shows_it_writes_it() -> None:
    """Alone, with an export behind it, as text or bytes, or as the gateway's own log tells it."""
    first, *_ = lines = list(Export(HEAD, ENTRIES).lines())
    alone = json.dumps(json.loads(first)["head"], indent=2)
    noted = Noted(3, ENTRIES[-1].hash, SIGNER.public)
    assert noted_head(b"".join(lines)) == noted_head(first) == noted_head(alone) == noted
    told = json.dumps({"event": "audit_head", "size": 3, "root": ENTRIES[-1].hash.hex()})
    assert noted_head(told) == Noted(3, ENTRIES[-1].hash)


@pytest.mark.parametrize(
    "text",
    ["", "3", "{}", '{"head":null}', '{"size":0,"root":"00"}', '{"size":3,"root":"x"}', "\udcff"],
)
def test_what_is_no_head_is_told(text: str) -> None:
    """One error, whatever the text."""
    with pytest.raises(BadExport):
        noted_head(text)

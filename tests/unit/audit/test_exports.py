"""A log in a file: what was written is read again, and rubbish is told so."""

import json

import pytest
from tests.unit.audit.test_chain import NOON, SIGNER, log

from garage_ai.audit.chain import Check, signed_head
from garage_ai.audit.errors import BadExport
from garage_ai.audit.exports import Export, read_export

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
    ],
)
def test_rubbish_is_no_export(text: bytes) -> None:
    """One error, whatever the bytes."""
    with pytest.raises(BadExport):
        read_export(text)

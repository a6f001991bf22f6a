"""The chain of hashes and its heads, without a database."""

import hashlib
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone

import pytest

from garage_ai.audit.chain import NOTHING, Check, Verdict, hash_of, is_signed, signed_head
from garage_ai.audit.models import Action, Actor, Entry, Head, Noted, Recorded
from garage_ai.wire.nkey import KeyPair, Role

NOON = datetime(2026, 11, 29, 12, tzinfo=UTC)
SIGNER = KeyPair(Role.OPERATOR, bytes(range(32)))


def entry(seq: int, previous: bytes, **fields: object) -> Recorded:
    """An entry as the log would write it behind another one."""
    bare = Recorded(
        seq, NOON, "key.made", "key", "key_1", "mbr_1", f"key_{seq}", "mbr_1", "{}", NOTHING
    )
    bare = replace(bare, **fields)  # type: ignore[arg-type]
    return replace(bare, hash=hash_of(bare, previous))


def log(size: int) -> list[Recorded]:
    """A log of so many entries."""
    entries: list[Recorded] = []
    for seq in range(1, size + 1):
        entries.append(entry(seq, entries[-1].hash if entries else NOTHING))
    return entries


def checked(entries: list[Recorded], *heads: Head, noted: Noted | None = None) -> Verdict:
    """The verdict over a log."""
    check = Check(heads, SIGNER.public, noted)
    for each in entries:
        check.take(each)
    return check.finish()


def test_a_log_as_it_was_written_is_whole() -> None:
    """Nothing is found, and what stands below the last head is told."""
    entries = log(5)
    verdict = checked(entries, signed_head(3, entries[2].hash, NOON, SIGNER))
    assert verdict == Verdict(5, entries[-1].hash, 3, ())
    assert verdict.is_whole


def test_an_empty_log_is_whole() -> None:
    """A network in which nothing has happened."""
    assert checked([]) == Verdict(0, NOTHING, 0, ())


def test_the_hash_of_an_entry_is_what_the_documentation_says() -> None:
    """The bytes that are hashed never change, or old logs could not be checked."""
    first = entry(1, NOTHING, details='{"scopes":"inference"}')
    text = (
        '{"action":"key.made","actor":"key","actor_id":"key_1","actor_member":"mbr_1",'
        '"at":"2026-11-29T12:00:00.000000Z","details":"{\\"scopes\\":\\"inference\\"}",'
        '"member":"mbr_1","seq":1,"subject":"key_1"}'
    )
    assert first.hash == hashlib.sha256(bytes(32) + text.encode()).digest()
    second = entry(2, first.hash)
    assert second.hash == hash_of(second, first.hash) != hash_of(second, NOTHING)


def test_the_zone_of_a_moment_is_no_difference() -> None:
    """The same moment has the same hash wherever the reader is."""
    first = entry(1, NOTHING)
    elsewhere = replace(first, at=NOON.astimezone(timezone(timedelta(hours=2))))
    assert hash_of(elsewhere, NOTHING) == first.hash


def test_a_moment_before_the_first_year_is_found() -> None:
    """Another hand may write what no clock shows, in an entry and in a head."""
    before = datetime(1, 1, 1, tzinfo=timezone(timedelta(hours=2)))
    entries = log(2)
    head = replace(signed_head(2, entries[1].hash, NOON, SIGNER), at=before)
    verdict = checked([replace(entries[0], at=before), entries[1]], head)
    assert [found.seq for found in verdict.findings] == [1, 2]


def test_an_end_that_was_cut_off_is_found() -> None:
    """A signed head names entries that are missing."""
    entries = log(5)
    head = signed_head(5, entries[4].hash, NOON, SIGNER)
    assert [found.seq for found in checked(entries[:3], head).findings] == [5]


def test_a_log_written_anew_is_found() -> None:
    """All hashes fit, but not to what was signed."""
    entries = log(3)
    head = signed_head(3, entries[2].hash, NOON, SIGNER)
    other = [entry(1, NOTHING, subject="key_9")]
    other.append(entry(2, other[0].hash))
    other.append(entry(3, other[1].hash))
    assert [found.seq for found in checked(other, head).findings] == [3]


def test_a_head_of_another_key_counts_for_nothing() -> None:
    """Whoever rewrites the log can sign with a key of the own, not with the network's."""
    entries = log(2)
    stranger = KeyPair.generate(Role.OPERATOR)
    verdict = checked(entries, signed_head(2, entries[1].hash, NOON, stranger))
    assert (verdict.signed, verdict.is_whole) == (0, False)


@pytest.mark.parametrize("field", ["size", "root", "at", "signature"])
def test_a_head_that_was_changed_is_not_signed(field: str) -> None:
    """Every field of a head is covered by its signature."""
    head = signed_head(2, bytes(32), NOON, SIGNER)
    other = {"size": 3, "root": bytes(31) + b"1", "at": NOON + timedelta(1), "signature": bytes(64)}
    changed = replace(head, **{field: other[field]})  # type: ignore[arg-type]
    assert is_signed(head, SIGNER.public)
    assert not is_signed(changed, SIGNER.public)
    assert not is_signed(replace(head, public_key="O" * 56), SIGNER.public)


def test_no_more_is_told_than_can_be_read() -> None:
    """A log of rubbish gives a bounded verdict."""
    assert len(checked(log(300)[::-1]).findings) == 100


@pytest.mark.parametrize("secret", ["gai_" + "a" * 38, "gaij_" + "B" * 38, "gaim_" + "0" * 38])
def test_no_secret_gets_into_an_entry(secret: str) -> None:
    """A secret in a subject or in details is a fault of the program, told at once."""
    by = Actor.key("key_1", "mbr_1")
    with pytest.raises(AssertionError, match="secret"):
        Entry(Action.KEY_MADE, by, f"the key {secret}")
    with pytest.raises(AssertionError, match="secret"):
        Entry(Action.KEY_MADE, by, "key_1", details={"key": secret})


def test_what_was_noted_shows_an_end_that_was_cut_off_with_its_head() -> None:
    """The log alone cannot know that there was more."""
    entries = log(5)
    earlier, noted = signed_head(3, entries[2].hash, NOON, SIGNER), Noted(5, entries[4].hash)
    assert checked(entries[:3], earlier).is_whole
    cut = checked(entries[:3], earlier, noted=noted)
    assert [found.seq for found in cut.findings] == [5]
    assert checked(entries, earlier, noted=noted).is_whole
    other = [*entries[:4], entry(5, entries[3].hash, subject="key_9")]
    assert [found.seq for found in checked(other, earlier, noted=noted).findings] == [5]


def test_what_stands_before_the_first_entry_is_found() -> None:
    """No number below 1 is given; those behind are checked as ever."""
    hidden = [replace(entry(1, NOTHING), seq=seq) for seq in (-7, 0)]
    assert [found.seq for found in checked([*hidden, *log(2)]).findings] == [-7, 0]

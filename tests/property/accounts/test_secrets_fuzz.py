"""Whatever is presented, authentication knows its keys and refuses the rest in one way."""

import asyncio
import string
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from garage_ai.accounts import InvalidKey, KeyRing
from garage_ai.accounts.secrets import KEY_PREFIX, TOKEN_PREFIX, digest_of, new_secret
from garage_ai.storage import Storage, sqlite_url

BASE62 = string.digits + string.ascii_letters
ANY = st.characters(categories=("L", "M", "N", "P", "S", "Z", "C"))  # lone surrogates too
PRESENTED = st.one_of(
    st.text(ANY, max_size=100),
    st.text(ANY, max_size=60).map(KEY_PREFIX.__add__),
    st.text(BASE62, min_size=38, max_size=38).map(KEY_PREFIX.__add__),
    st.text(ANY, min_size=38, max_size=38).map(KEY_PREFIX.__add__),
    st.builds(new_secret, st.sampled_from([KEY_PREFIX, TOKEN_PREFIX])),
)


@pytest.fixture(scope="module")
def ring() -> Iterator[KeyRing]:
    with asyncio.Runner() as runner, tempfile.TemporaryDirectory() as folder:
        storage = runner.run(Storage.open(sqlite_url(Path(folder) / "garage.db")))
        ring = runner.run(KeyRing.open(storage))
        runner.run(ring.create("the only key"))
        yield ring
        runner.run(ring.close())
        runner.run(storage.close())


@given(presented=PRESENTED)
def test_anything_else_is_an_invalid_key(ring: KeyRing, presented: str) -> None:
    """No text makes authentication fail in any other way than by refusing the key."""
    with pytest.raises(InvalidKey) as caught:
        ring.authenticate(presented)
    assert type(caught.value) is InvalidKey
    assert len(presented) < 10 or presented not in str(caught.value)


@given(at=st.integers(0, 41), letter=st.sampled_from(BASE62 + "_"))
def test_one_wrong_letter_is_noticed(at: int, letter: str) -> None:
    """A typo anywhere is refused by the checksum, before any look-up."""
    secret = new_secret(KEY_PREFIX)
    typo = secret[:at] + letter + secret[at + 1 :]
    assert (digest_of(KEY_PREFIX, typo) is None) == (typo != secret)


@given(at=st.integers(4, 40))
def test_two_swapped_letters_are_noticed(at: int) -> None:
    """So is the other common typo."""
    secret = new_secret(KEY_PREFIX)
    typo = secret[:at] + secret[at + 1] + secret[at] + secret[at + 2 :]
    assert (digest_of(KEY_PREFIX, typo) is None) == (typo != secret)

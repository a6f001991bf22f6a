"""A release is what its key has signed, to the last byte."""

import zipfile
from pathlib import Path

import msgspec
import pytest

from garage_ai.node.errors import BadRelease, NoReleaseKey, ReleaseAway
from garage_ai.node.update.release import (
    RELEASE_KEY,
    Release,
    check_wheel,
    make_release,
    open_release,
    release_key,
    sign_release,
)
from garage_ai.node.update.source import Source
from garage_ai.wire.nkey import KeyPair, Role

PAIR = KeyPair.generate(Role.USER)
LOCK = "garage_ai-1.2.3.dist-info/extra_metadata/requirements/node.lock"
RELEASE = Release(
    version="1.2.3",
    sha256="a" * 64,
    size=10,
    locks={"node": "b" * 64},
    python="3.11",
    date="2026-11-25",
)


@pytest.fixture
def wheel(tmp_path: Path) -> Path:
    """A wheel with one lock in it."""
    path = tmp_path / "garage_ai-1.2.3-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("garage_ai/__init__.py", "")
        archive.writestr(LOCK, "aiohttp==3.14\n")
    return path


def test_what_is_signed_is_read() -> None:
    """By whoever has the public key."""
    assert open_release(sign_release(RELEASE, PAIR), PAIR.public) == RELEASE


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (rb"1.2.3", rb"1.2.4"),
        (rb"3.11", rb"3.12"),
        (b"a" * 64, b"c" * 64),
        (b'"signature":"', b'"signature":"A'),
        (b'{"body"', b'{"bodies"'),
        (b"{", b"["),
    ],
)
def test_a_changed_byte_is_refused(before: bytes, after: bytes) -> None:
    """In the text, in the signature, in the form."""
    page = sign_release(RELEASE, PAIR)
    assert before in page
    with pytest.raises(BadRelease):
        open_release(page.replace(before, after, 1), PAIR.public)


@pytest.mark.parametrize(
    "key",
    [KeyPair.generate(Role.USER).public, "U", "", "\N{SNOWMAN}" * 56],
    ids=["a stranger's", "letter", "empty", "snow"],
)
def test_another_key_is_refused(key: str) -> None:
    """Also what is no key at all."""
    with pytest.raises(BadRelease):
        open_release(sign_release(RELEASE, PAIR), key)


@pytest.mark.parametrize(
    "change",
    [
        {"version": "1.2"},
        {"version": "../1.2.3"},
        {"sha256": "A" * 64},
        {"size": 0},
        {"size": 1 << 40},
        {"locks": {"../node": "b" * 64}},
        {"python": "2.7"},
    ],
)
def test_a_signed_text_is_checked_all_the_same(change: dict[str, object]) -> None:
    """A mistake of whoever signs does not become a path or an endless download."""
    page = sign_release(msgspec.structs.replace(RELEASE, **change), PAIR)
    with pytest.raises(BadRelease):
        open_release(page, PAIR.public)


def test_an_endless_page_is_not_read() -> None:
    """Before anything looks into it."""
    with pytest.raises(BadRelease):
        open_release(b"x" * 100_000, PAIR.public)


def test_a_wheel_is_what_was_released(wheel: Path) -> None:
    """Its locks are given, each compared; another size, byte or lock is refused."""
    release = make_release(wheel, python="3.11", date="2026-11-25")
    assert release.wheel == wheel.name
    assert check_wheel(wheel, release) == {"node": b"aiohttp==3.14\n"}
    other = msgspec.structs.replace(release, locks={"node": "0" * 64})
    with pytest.raises(BadRelease, match="lock node"):
        check_wheel(wheel, other)
    missing = msgspec.structs.replace(release, locks={"engine": release.locks["node"]})
    with pytest.raises(BadRelease, match="lock engine"):
        check_wheel(wheel, missing)
    page = bytearray(wheel.read_bytes())
    page[40] ^= 1
    wheel.write_bytes(page)
    with pytest.raises(BadRelease, match="sha256"):
        check_wheel(wheel, release)
    wheel.write_bytes(page + b"x")
    with pytest.raises(BadRelease, match="size"):
        check_wheel(wheel, release)


def test_a_wheel_is_named_for_what_it_is(wheel: Path) -> None:
    """No release speaks of a file that nobody will find."""
    other = wheel.rename(wheel.with_name("garage_ai-1.2.3-cp311-none-any.whl"))
    with pytest.raises(BadRelease, match="should be called"):
        make_release(other, python="3.11", date="2026-11-25")


def test_without_a_key_nothing_is_trusted() -> None:
    """It is said plainly, with the way out; a key that is said is taken."""
    assert RELEASE_KEY == ""
    with pytest.raises(NoReleaseKey, match=r"no release key built in.*GAI_RELEASE_KEY="):
        release_key(None)
    assert release_key(PAIR.public) == PAIR.public


@pytest.mark.anyio
@pytest.mark.parametrize("place", ["http://example.org/releases", "ftp://example.org", "file:///x"])
async def test_releases_come_over_https_or_from_a_folder(place: str) -> None:
    """A signature does not keep what somebody looks for from others' eyes."""
    with pytest.raises(ReleaseAway, match="https only"):
        await Source.of(None, place).page()


@pytest.mark.anyio
async def test_a_place_that_is_not_there_is_named(tmp_path: Path) -> None:
    """And one that nobody has named is asked for."""
    with pytest.raises(ReleaseAway, match=r"garage-ai-9\.9\.9\.json cannot be read"):
        await Source.of("9.9.9", str(tmp_path)).page()
    with pytest.raises(ReleaseAway, match="GAI_RELEASES"):
        Source.of(None, None)

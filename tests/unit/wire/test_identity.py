"""A node's identity on its disk."""

import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import msgspec
import pytest

from garage_ai.wire.identity import (
    IdentityDamaged,
    IdentityExposed,
    IdentityFolder,
    IdentityMissing,
    IdentityPresent,
    NodeCredentials,
    NodeIdentity,
    RotationRefused,
    check_rotation,
    make_rotation,
    token_digest,
    verify_text,
)
from garage_ai.wire.ids import NodeId
from garage_ai.wire.nkey import KeyPair, NkeyError, Role

NODE = NodeId("naaaaaaaaaaaa")


def identity() -> NodeIdentity:
    """Make a key."""
    return NodeIdentity(KeyPair.generate(Role.USER))


def test_a_new_key_is_its_owners_alone(tmp_path: Path) -> None:
    """The folder is 0700, the file 0600, and nothing else is left there."""
    folder = tmp_path / "deep" / "identity"
    made = IdentityFolder(folder).create()
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert [each.name for each in folder.iterdir()] == ["node.nk"]
    assert stat.S_IMODE((folder / "node.nk").stat().st_mode) == 0o600
    assert IdentityFolder(folder).load().public_key == made.public_key


def test_a_key_is_never_replaced_by_create(tmp_path: Path) -> None:
    """A second creation fails and leaves the first key."""
    folder = IdentityFolder(tmp_path / "identity")
    made = folder.create()
    with pytest.raises(IdentityPresent):
        folder.create()
    assert folder.load().public_key == made.public_key


def test_of_many_at_once_all_get_the_same_key(tmp_path: Path) -> None:
    """Processes that start together agree on one identity."""
    folder = IdentityFolder(tmp_path / "identity")
    with ThreadPoolExecutor(8) as pool:
        keys = {each.public_key for each in pool.map(lambda _: folder.open_or_create(), range(16))}
    assert keys == {folder.load().public_key}


def test_a_missing_key_says_so(tmp_path: Path) -> None:
    """Neither key nor JWT where nobody enrolled."""
    folder = IdentityFolder(tmp_path / "identity")
    with pytest.raises(IdentityMissing):
        folder.load()
    with pytest.raises(IdentityMissing):
        folder.load_jwt()


def test_a_key_others_may_read_is_refused_with_the_fix(tmp_path: Path) -> None:
    """The message holds the command that mends it."""
    folder = IdentityFolder(tmp_path / "identity")
    folder.create()
    (folder.folder / "node.nk").chmod(0o640)
    with pytest.raises(IdentityExposed, match=r"0640.*chmod 600 .*node\.nk"):
        folder.load()
    (folder.folder / "node.nk").chmod(0o600)
    folder.load()


@pytest.mark.parametrize("content", ["", "SU", "x" * 58, "\x00\xff", "{}\n"])
def test_a_damaged_key_is_named_and_never_replaced(tmp_path: Path, content: str) -> None:
    """Neither load nor open_or_create makes a new key in a damaged one's place."""
    folder = IdentityFolder(tmp_path / "identity")
    folder.create()
    (folder.folder / "node.nk").write_text(content)
    for look in (folder.load, folder.open_or_create):
        with pytest.raises(IdentityDamaged, match=r"node\.nk"):
            look()
    assert (folder.folder / "node.nk").read_text() == content


def test_a_link_in_the_keys_place_is_not_followed(tmp_path: Path) -> None:
    """A symbolic link is damage, not a key."""
    real = IdentityFolder(tmp_path / "real")
    real.create()
    folder = IdentityFolder(tmp_path / "identity")
    folder.folder.mkdir(mode=0o700)
    (folder.folder / "node.nk").symlink_to(real.folder / "node.nk")
    with pytest.raises(IdentityDamaged):
        folder.load()


def test_a_key_of_another_role_is_damage(tmp_path: Path) -> None:
    """An account's seed is no node's."""
    folder = IdentityFolder(tmp_path / "identity")
    folder.create()
    (folder.folder / "node.nk").write_text(KeyPair.generate(Role.ACCOUNT).seed())
    with pytest.raises(IdentityDamaged):
        folder.load()


def test_a_rotation_broken_off_goes_on_with_the_same_new_key(tmp_path: Path) -> None:
    """Begin, crash, begin again, end: one new key, and the old one is gone."""
    folder = IdentityFolder(tmp_path / "identity")
    old = folder.create()
    assert folder.pending() is None
    new = folder.begin_rotation()
    assert folder.load().public_key == old.public_key
    assert folder.begin_rotation().public_key == new.public_key
    assert folder.end_rotation().public_key == new.public_key
    assert folder.load().public_key == new.public_key
    assert folder.pending() is None
    with pytest.raises(IdentityMissing):
        folder.end_rotation()


def test_forgetting_leaves_nothing(tmp_path: Path) -> None:
    """Key, next key and JWT are removed, and once more does no harm."""
    folder = IdentityFolder(tmp_path / "identity")
    folder.create()
    folder.begin_rotation()
    folder.save_jwt("a.b.c")
    for _ in range(2):
        folder.forget()
        assert list(folder.folder.iterdir()) == []


def test_credentials_read_the_jwt_each_time(tmp_path: Path) -> None:
    """A renewed JWT is used without a new object, and signatures are the node's."""
    folder = IdentityFolder(tmp_path / "identity")
    made = folder.create()
    credentials = NodeCredentials(folder, folder.load)
    for jwt in ("first.jwt.x", "second.jwt.x"):
        folder.save_jwt(jwt)
        assert credentials.jwt() == jwt
    assert credentials.sign(b"nonce") == made.sign(b"nonce")


def test_a_rotation_needs_both_keys() -> None:
    """The old key's yes and the new key's proof, over this node, nonce and pair."""
    old, new, stranger = identity(), identity(), identity()
    good = make_rotation(NODE, "nonce", old, new)
    check_rotation(good, old.public_key)
    replace = msgspec.structs.replace
    for bad in (
        replace(good, nonce="another"),
        replace(good, node=NodeId("nbbbbbbbbbbbb")),
        replace(good, new_public_key=stranger.public_key),
        replace(good, signature=good.proof),
        replace(good, proof=good.signature),
        replace(good, proof=""),
        make_rotation(NODE, "nonce", stranger, new),
        make_rotation(NODE, "nonce", old, old),
    ):
        with pytest.raises(RotationRefused):
            check_rotation(bad, old.public_key)


@pytest.mark.parametrize("signature", ["", "=", "A" * 86, "A" * 2000, "å", "+/" * 43])
def test_a_text_that_is_no_signature_is_refused(signature: str) -> None:
    """Whatever stands for a signature ends in a typed error."""
    with pytest.raises(NkeyError):
        verify_text(identity().public_key, b"text", signature)


def test_a_token_is_the_same_with_its_fingerprint() -> None:
    """The digest covers the secret, not what is pasted around it."""
    assert token_digest("gaij_abc") == token_digest(" gaij_abc." + "0" * 64 + "\n")
    assert len(token_digest("gaij_abc")) == 64
    assert token_digest("gaij_abc") != token_digest("gaij_abd")

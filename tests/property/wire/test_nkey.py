"""Keys and signatures in text."""

import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from garage_ai.wire.nkey import (
    BadKey,
    BadSignature,
    KeyPair,
    NkeyError,
    Role,
    decode_public,
    encode_public,
    public_key,
    role_of,
    verify,
)

roles = st.sampled_from(Role)
raws = st.binary(min_size=32, max_size=32)


@given(roles, raws)
def test_a_key_survives_its_text(role: Role, raw: bytes) -> None:
    """Seed and public key read back as they were."""
    pair = KeyPair(role, raw)
    assert KeyPair.from_seed(pair.seed(), role).public == pair.public
    assert encode_public(role, decode_public(pair.public, role)) == pair.public
    assert role_of(pair.public) is role
    assert pair.public[0] == {Role.OPERATOR: "O", Role.ACCOUNT: "A", Role.USER: "U"}[role]


@given(roles, raws, roles)
def test_a_key_has_one_role(role: Role, raw: bytes, other: Role) -> None:
    """A key of one role is none of another."""
    if role is other:
        return
    pair = KeyPair(role, raw)
    with pytest.raises(BadKey):
        KeyPair.from_seed(pair.seed(), other)
    with pytest.raises(BadKey):
        public_key(pair.public, other)


@given(roles, raws, st.data())
def test_a_changed_character_is_noticed(role: Role, raw: bytes, data: st.DataObject) -> None:
    """The checksum finds any one wrong character."""
    text = data.draw(st.sampled_from([KeyPair(role, raw).public, KeyPair(role, raw).seed()]))
    at = data.draw(st.integers(0, len(text) - 1))
    other = data.draw(st.characters(max_codepoint=0x17F).filter(lambda c: c != text[at]))
    changed = text[:at] + other + text[at + 1 :]
    with pytest.raises(BadKey):
        role_of(changed) if len(text) == 56 else KeyPair.from_seed(changed, role)


@given(st.text(max_size=80))
def test_other_text_is_no_key(text: str) -> None:
    """Nothing but BadKey comes of it, and the text is not repeated."""
    with pytest.raises(BadKey) as seed:
        KeyPair.from_seed(text, Role.USER)
    with pytest.raises(BadKey):
        role_of(text)
    assert len(text) < 8 or text not in str(seed.value)


@given(raws, st.binary(max_size=200), st.data())
def test_a_signature_is_for_one_text_and_one_key(
    raw: bytes, message: bytes, data: st.DataObject
) -> None:
    """It verifies, and does not when text, signature or key differ."""
    pair = KeyPair(Role.USER, raw)
    signature = pair.sign(message)
    verify(pair.public, Role.USER, message, signature)
    for wrong in (
        (pair.public, message + b"x", signature),
        (pair.public, message, data.draw(st.binary(max_size=70).filter(lambda s: s != signature))),
        (KeyPair.generate(Role.USER).public, message, signature),
    ):
        with pytest.raises(BadSignature):
            verify(wrong[0], Role.USER, wrong[1], wrong[2])
    with pytest.raises(NkeyError):
        verify(pair.public, Role.ACCOUNT, message, signature)


@given(roles)
def test_a_key_pair_shows_no_seed(role: Role) -> None:
    """Neither repr nor pickle gives the private half away."""
    pair = KeyPair.generate(role)
    assert pair.seed() not in repr(pair) + str(pair)
    with pytest.raises(TypeError):
        pickle.dumps(pair)

"""The shape of secrets."""

import hashlib

import pytest

from garage_ai.accounts.secrets import (
    KEY_PREFIX,
    TOKEN_PREFIX,
    Prefix,
    digest_of,
    hash_of,
    is_well_formed,
    new_secret,
    token_secret,
)


@pytest.mark.parametrize("prefix", [KEY_PREFIX, TOKEN_PREFIX])
def test_a_secret_is_prefix_body_and_checksum(prefix: Prefix) -> None:
    """32 random characters and 6 of a checksum follow the prefix; its digest is SHA-256."""
    secret = new_secret(prefix)
    assert len(secret) == len(prefix) + 38
    assert secret.startswith(prefix)
    assert secret[len(prefix) :].isalnum()
    assert digest_of(prefix, secret) == hashlib.sha256(secret.encode()).digest()


def test_no_two_secrets_are_alike() -> None:
    """A thousand secrets are a thousand."""
    assert len({new_secret(KEY_PREFIX) for _ in range(1000)}) == 1000


def test_a_known_secret_stays_valid() -> None:
    """The format is what others keep in their configuration: it does not change."""
    assert digest_of(KEY_PREFIX, "gai_000000000000000000000000000000004SP0Iu") is not None


def test_one_kind_is_not_the_other() -> None:
    """A key is no token and a token is no key."""
    assert digest_of(TOKEN_PREFIX, new_secret(KEY_PREFIX)) is None
    assert digest_of(KEY_PREFIX, new_secret(TOKEN_PREFIX)) is None


def test_a_fingerprint_behind_a_token_is_cut() -> None:
    """A token is pasted with the CA's fingerprint and spaces around; its secret is alone."""
    secret = new_secret(TOKEN_PREFIX)
    assert token_secret(f" {secret}.{'ab' * 32}\n") == secret
    assert token_secret(secret) == secret


@pytest.mark.parametrize("text", ["", "gai_", "gai_" + "0" * 38, "\ud800", "gai_" + "\ud800" * 38])
def test_any_text_has_a_hash(text: str) -> None:
    """What is no secret is told so and can be looked up in vain, whatever its characters."""
    assert not is_well_formed(KEY_PREFIX, text)
    assert len(hash_of(text)) == 32

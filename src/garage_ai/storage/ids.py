"""Ids of rows that other tables point at, as types.

A node's id comes from the network and has its type there; storage keeps it as text.
"""

import secrets
import string
from typing import Final, NewType

MemberId = NewType("MemberId", str)
"""`mbr_` and 16 base62 characters; whoever owns keys, tokens and nodes."""

KeyId = NewType("KeyId", str)
"""`key_` and 16 base62 characters; names a key without telling it."""

TokenId = NewType("TokenId", str)
"""`tok_` and 16 base62 characters; names an enrolment token without telling it."""

InviteId = NewType("InviteId", str)
"""`inv_` and 16 base62 characters; names an invite without telling it."""

OPERATOR: Final = MemberId("mbr_operator")
"""The built-in member, there from the first migration: the operator of this network."""

_BASE62: Final = string.digits + string.ascii_uppercase + string.ascii_lowercase


def _random() -> str:
    return "".join(secrets.choice(_BASE62) for _ in range(16))


def new_member_id() -> MemberId:
    """Make a member id: 95 random bits."""
    return MemberId("mbr_" + _random())


def new_key_id() -> KeyId:
    """Make a key id: 95 random bits."""
    return KeyId("key_" + _random())


def new_token_id() -> TokenId:
    """Make a token id: 95 random bits."""
    return TokenId("tok_" + _random())


def new_invite_id() -> InviteId:
    """Make an invite id: 95 random bits."""
    return InviteId("inv_" + _random())


__all__ = [
    "OPERATOR",
    "InviteId",
    "KeyId",
    "MemberId",
    "TokenId",
    "new_invite_id",
    "new_key_id",
    "new_member_id",
    "new_token_id",
]

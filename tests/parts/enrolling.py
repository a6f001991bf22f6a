"""Nodes let in as an administrator does it: with a token."""

from garage_ai.accounts import OPERATOR, EnrolmentTokens, MemberId, Node, Nodes
from garage_ai.storage import Storage


async def enrolled(
    storage: Storage,
    public_key: str,
    name: str = "PC",
    member: MemberId = OPERATOR,
    region: str | None = None,
) -> Node:
    """Make a token and redeem it."""
    token = await EnrolmentTokens(storage).create(member, region)
    assert token.secret is not None
    return await Nodes(storage).enrol(token.secret, public_key, name)

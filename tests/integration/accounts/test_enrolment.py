"""Enrolment tokens and the nodes that they let in."""

import asyncio
from datetime import UTC, datetime, timedelta

import pytest

from garage_ai.accounts import (
    OPERATOR,
    EnrolmentTokens,
    IdempotencyConflict,
    InvalidField,
    InvalidToken,
    Member,
    MemberId,
    MemberNotFound,
    Members,
    NodeId,
    NodeKeyStale,
    NodeKeyTaken,
    NodeNotFound,
    NodeRemoved,
    Nodes,
    TokenExpired,
    TokenId,
    TokenNotFound,
    TokenRevoked,
    TokenUsed,
    TooManyRotations,
)
from garage_ai.accounts.nodes import ROTATIONS
from garage_ai.accounts.secrets import new_secret
from garage_ai.storage import Storage

pytestmark = pytest.mark.anyio

HOUR = timedelta(hours=1)


class Clock:
    """Time that stands still until it is moved."""

    def __init__(self) -> None:
        self.now = datetime(2026, 11, 23, 12, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now


def public_key(letter: str) -> str:
    return "U" + letter * 55


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def tokens(storage: Storage, clock: Clock) -> EnrolmentTokens:
    return EnrolmentTokens(storage, clock)


@pytest.fixture
def nodes(storage: Storage, clock: Clock) -> Nodes:
    return Nodes(storage, clock)


@pytest.fixture
async def anna(storage: Storage) -> Member:
    return await Members(storage).add("Anna")


async def token_for(
    tokens: EnrolmentTokens, member: MemberId = OPERATOR, region: str | None = None
) -> str:
    secret = (await tokens.create(member, region, HOUR)).secret
    assert secret is not None
    return secret


async def test_a_token_is_redeemed_once(
    tokens: EnrolmentTokens, nodes: Nodes, clock: Clock
) -> None:
    """It says by whom and when it was used, and is good for nothing after."""
    token, secret = await tokens.create(region="SE-AB", ttl=HOUR)
    assert secret is not None
    node = await nodes.enrol(f"{secret}.{'0' * 64}", public_key("A"), "garage")
    [used] = await tokens.list()
    assert (used.id, used.region, used.redeemed_by) == (token.id, "SE-AB", node.id)
    assert used.state(clock.now) == "used"
    with pytest.raises(TokenUsed):
        await nodes.enrol(secret, public_key("B"), "cellar")
    assert await tokens.list() == [used]


async def test_of_many_who_redeem_at_once_one_succeeds(
    tokens: EnrolmentTokens, nodes: Nodes, database: str, clock: Clock
) -> None:
    """Callers in this process and through another engine: one gets it, all others hear why."""
    secret = await token_for(tokens)
    other = await Storage.open(database)
    sides = (nodes, Nodes(other, clock)) * 8
    callers = zip(sides, "ABCDEFGHIJKLMNOP", strict=True)
    calls = [side.enrol(secret, public_key(letter), "garage") for side, letter in callers]
    results = await asyncio.gather(*calls, return_exceptions=True)
    await other.close()
    assert sum(not isinstance(result, BaseException) for result in results) == 1
    assert sum(isinstance(result, TokenUsed) for result in results) == 15
    assert len(await nodes.list()) == 1


async def test_a_token_expires(tokens: EnrolmentTokens, nodes: Nodes, clock: Clock) -> None:
    """A moment before its end it works, at its end it does not."""
    early, late = await token_for(tokens), await token_for(tokens)
    clock.now += HOUR - timedelta(microseconds=1)
    await nodes.enrol(early, public_key("A"), "garage")
    clock.now += timedelta(microseconds=1)
    with pytest.raises(TokenExpired):
        await nodes.enrol(late, public_key("B"), "cellar")


async def test_a_token_can_be_revoked(tokens: EnrolmentTokens, nodes: Nodes) -> None:
    """Then it is refused; revoking again changes nothing, a used one stays used."""
    token, secret = await tokens.create()
    assert secret is not None
    revoked = await tokens.revoke(token.id)
    with pytest.raises(TokenRevoked):
        await nodes.enrol(secret, public_key("A"), "garage")
    assert await tokens.revoke(token.id) == revoked
    with pytest.raises(TokenNotFound):
        await tokens.revoke(TokenId("tok_nothing"))


@pytest.mark.parametrize(
    "text",
    ["", ".", "gaij_", new_secret("gai_"), new_secret("gaij_"), "å"],
    ids=["empty", "dot", "prefix", "another kind", "unknown", "letter"],
)
async def test_other_text_is_no_token(nodes: Nodes, storage: Storage, text: str) -> None:
    """Noise, keys and well-formed tokens of elsewhere are refused alike, and take no turn."""
    async with storage.write(in_turn=True):
        with pytest.raises(InvalidToken) as caught:
            await nodes.enrol(text, public_key("A"), "garage")
    assert type(caught.value) is InvalidToken


async def test_the_same_call_makes_one_token(tokens: EnrolmentTokens) -> None:
    """An idempotency key gives the same token again, without the secret, for the same request."""
    first = await tokens.create(region="SE-AB", ttl=HOUR, idempotency_key="a")
    again = await tokens.create(region="SE-AB", ttl=HOUR, idempotency_key="a")
    assert (again.token, again.secret) == (first.token, None)
    with pytest.raises(IdempotencyConflict):
        await tokens.create(region="SE-AB", ttl=2 * HOUR, idempotency_key="a")


@pytest.mark.parametrize("ttl", [timedelta(), -HOUR, timedelta(days=366)])
async def test_a_token_lives_for_a_sensible_while(tokens: EnrolmentTokens, ttl: timedelta) -> None:
    """None is born dead and none lives for ever."""
    with pytest.raises(InvalidField):
        await tokens.create(ttl=ttl)


async def test_a_token_needs_a_member_that_exists(tokens: EnrolmentTokens) -> None:
    """No node can come in that belongs to nobody."""
    with pytest.raises(MemberNotFound):
        await tokens.create(MemberId("mbr_nobody"))


async def test_enrolment_makes_the_tokens_node(
    tokens: EnrolmentTokens, nodes: Nodes, anna: Member
) -> None:
    """The node has the token's member and region, and the token says which node it was."""
    secret = await token_for(tokens, anna.id, "SE-AC")
    node = await nodes.enrol(secret, public_key("A"), "garage", "unsandboxed")
    assert (node.member, node.region, node.trust) == (anna.id, "SE-AC", "unsandboxed")
    assert node.id.startswith("n")
    assert len(node.id) == 13
    assert (await tokens.list())[0].redeemed_by == node.id
    assert await nodes.get(node.id) == node
    assert await nodes.list() == [node]


async def test_a_lost_answer_costs_nothing(tokens: EnrolmentTokens, nodes: Nodes) -> None:
    """The same node with the same token gets the same id; another node gets nothing."""
    secret = await token_for(tokens)
    node = await nodes.enrol(secret, public_key("A"), "garage")
    assert await nodes.enrol(secret, public_key("A"), "garage") == node
    with pytest.raises(TokenUsed):
        await nodes.enrol(secret, public_key("B"), "thief")


async def test_a_known_node_may_come_with_a_new_token(
    tokens: EnrolmentTokens, nodes: Nodes
) -> None:
    """It stays the node that it is, with what the new enrolment says."""
    node = await nodes.enrol(await token_for(tokens), public_key("A"), "garage")
    again = await nodes.enrol(
        await token_for(tokens, region="SE-AB"), public_key("A"), "cellar", "unsandboxed"
    )
    assert (again.id, again.region, again.name, again.trust) == (
        node.id,
        "SE-AB",
        "cellar",
        "unsandboxed",
    )


async def test_a_token_may_let_its_node_do_without_a_sandbox(
    tokens: EnrolmentTokens, nodes: Nodes
) -> None:
    """An administrator says so when making it; no node can say so of itself."""
    plain = await nodes.enrol(await token_for(tokens), public_key("A"), "garage", "unsandboxed")
    assert plain.bare_allowed_at is None
    issued = await tokens.create(bare_allowed=True)
    assert issued.secret is not None
    bare = await nodes.enrol(issued.secret, public_key("B"), "cellar")
    assert bare.bare_allowed_at == issued.token.created_at
    again = await nodes.enrol(await token_for(tokens), public_key("B"), "cellar")
    assert (again.id, again.bare_allowed_at) == (bare.id, None)


async def test_a_token_for_a_bare_node_is_another_wish(tokens: EnrolmentTokens) -> None:
    """The same idempotency key does not turn one into the other."""
    await tokens.create(idempotency_key="once")
    with pytest.raises(IdempotencyConflict):
        await tokens.create(bare_allowed=True, idempotency_key="once")


async def test_a_node_is_let_in_as_it_is(tokens: EnrolmentTokens, nodes: Nodes) -> None:
    """Once more changes nothing; who is not there cannot be let in."""
    node = await nodes.enrol(await token_for(tokens), public_key("A"), "garage")
    admitted = await nodes.allow_bare(node.id)
    assert admitted.bare_allowed_at is not None
    assert await nodes.allow_bare(node.id) == admitted
    assert await nodes.get(node.id) == admitted
    with pytest.raises(NodeNotFound):
        await nodes.allow_bare(NodeId("nobody"))


async def test_a_refused_enrolment_leaves_the_token(
    tokens: EnrolmentTokens, nodes: Nodes, anna: Member
) -> None:
    """When the node cannot be had the token is not used up: both or neither."""
    removed = await nodes.enrol(await token_for(tokens), public_key("A"), "garage")
    await nodes.remove(removed.id)
    rotated = await nodes.enrol(await token_for(tokens), public_key("B"), "garage")
    await nodes.rotate_key(rotated.id, public_key("B"), public_key("C"))
    secret = await token_for(tokens, anna.id)
    for letter, refusal in (("A", NodeRemoved), ("B", NodeKeyTaken), ("C", NodeKeyTaken)):
        with pytest.raises(refusal):
            await nodes.enrol(secret, public_key(letter), "garage")
    with pytest.raises(InvalidField):
        await nodes.enrol(secret, "nonsense", "garage")
    assert (await nodes.enrol(secret, public_key("D"), "garage")).member == anna.id


async def test_a_key_is_rotated_and_retired(
    tokens: EnrolmentTokens, nodes: Nodes, clock: Clock
) -> None:
    """The old key is kept as retired, the call may be repeated, and it never comes back."""
    node = await nodes.enrol(await token_for(tokens), public_key("A"), "garage")
    clock.now += HOUR
    rotated = await nodes.rotate_key(node.id, public_key("A"), public_key("B"))
    assert rotated.public_key == public_key("B")
    assert [(k.public_key, k.retired_at) for k in rotated.retired_keys] == [
        (public_key("A"), clock.now)
    ]
    assert await nodes.rotate_key(node.id, public_key("A"), public_key("B")) == rotated
    with pytest.raises(NodeKeyStale):
        await nodes.rotate_key(node.id, public_key("A"), public_key("C"))
    with pytest.raises(NodeKeyTaken):
        await nodes.rotate_key(node.id, public_key("B"), public_key("A"))
    assert await nodes.list() == [rotated]


async def test_a_key_is_rotated_a_few_times_a_day(
    tokens: EnrolmentTokens, nodes: Nodes, clock: Clock
) -> None:
    """Each is a line more in what all servers hold; the node goes on with the key that it has."""
    keys = [public_key(letter) for letter in "ABCDEFGHIJ"]
    node = await nodes.enrol(await token_for(tokens), keys[0], "garage")
    for number in range(ROTATIONS):
        clock.now += HOUR
        await nodes.rotate_key(node.id, keys[number], keys[number + 1])
    last = keys[ROTATIONS : ROTATIONS + 2]
    with pytest.raises(TooManyRotations) as refused:
        await nodes.rotate_key(node.id, *last)
    assert refused.value.retry_after == (24 - ROTATIONS + 1) * 3600
    again = await nodes.rotate_key(node.id, keys[ROTATIONS - 1], keys[ROTATIONS])
    assert again.public_key == keys[ROTATIONS]
    clock.now += timedelta(seconds=refused.value.retry_after)
    assert (await nodes.rotate_key(node.id, *last)).public_key == last[1]


async def test_no_two_nodes_share_a_key(
    tokens: EnrolmentTokens, nodes: Nodes, anna: Member
) -> None:
    """Neither by enrolling nor by rotating."""
    await nodes.enrol(await token_for(tokens), public_key("A"), "garage")
    other = await nodes.enrol(await token_for(tokens), public_key("B"), "cellar")
    with pytest.raises(NodeKeyTaken):
        await nodes.enrol(await token_for(tokens, anna.id), public_key("A"), "attic")
    with pytest.raises(NodeKeyTaken):
        await nodes.rotate_key(other.id, public_key("B"), public_key("A"))


async def test_of_many_who_take_a_key_at_once_one_has_it(
    tokens: EnrolmentTokens, nodes: Nodes, storage: Storage, database: str, clock: Clock
) -> None:
    """Through two engines, as a new node, as another node's next key or its retired one."""
    first = await nodes.enrol(await token_for(tokens), public_key("A"), "garage")
    other = await Storage.open(database)
    there = Nodes(other, clock)
    members = [await Members(storage).add(f"member {number}") for number in range(6)]
    secrets = [await token_for(tokens, member.id) for member in members]
    sides = zip((nodes, there) * 3, secrets, strict=True)
    calls = [side.enrol(secret, public_key("B"), "attic") for side, secret in sides]
    calls += [there.rotate_key(first.id, public_key("A"), public_key("B"))]
    results = await asyncio.gather(*calls, return_exceptions=True)
    await other.close()
    assert sum(isinstance(result, NodeKeyTaken) for result in results) == len(calls) - 1
    [has_it] = [node for node in await nodes.list() if node.public_key == public_key("B")]
    assert has_it in results


async def test_removal_is_for_good(tokens: EnrolmentTokens, nodes: Nodes, clock: Clock) -> None:
    """A removed node leaves the list, cannot be changed, and keeps when it was removed."""
    node = await nodes.enrol(await token_for(tokens, region="SE-AB"), public_key("A"), "garage")
    removed = await nodes.remove(node.id)
    assert removed.removed_at == clock.now
    clock.now += HOUR
    assert await nodes.remove(node.id) == removed
    assert (await nodes.list(), await nodes.list(removed=True)) == ([], [removed])
    assert await nodes.get(node.id) == removed
    for change in (
        nodes.allow_bare(node.id),
        nodes.rotate_key(node.id, public_key("A"), public_key("B")),
    ):
        with pytest.raises(NodeNotFound):
            await change


async def test_unknown_nodes_are_not_found(nodes: Nodes) -> None:
    """Every call about a node that is not there says so."""
    nobody = NodeId("nnnnnnnnnnnnn")
    for call in (nodes.get(nobody), nodes.remove(nobody), nodes.allow_bare(nobody)):
        with pytest.raises(NodeNotFound):
            await call

"""From a token to a working node and back to nobody: real books, real nats-server."""

import asyncio
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from pathlib import Path

import msgspec
import pytest
from tests.parts.credentials import Told
from tests.parts.nats import NatsProcess

from garage_ai.accounts import EnrolmentTokens, NodeRemoved, Nodes, TokenUsed
from garage_ai.network.authority import Authority
from garage_ai.network.claims_push import ClaimsPusher
from garage_ai.network.enrolment import Enrolment
from garage_ai.network.enrolment_errors import AgentTooOld, NodeGone, NonceUnusable, ProofRefused
from garage_ai.storage import Storage
from garage_ai.wire import subjects
from garage_ai.wire.claims import decode
from garage_ai.wire.connection import Backoff, Connection, Message, connect
from garage_ai.wire.enrolment import Enrolled, sign_enrolment, sign_proof
from garage_ai.wire.identity import (
    IdentityFolder,
    NodeCredentials,
    NodeIdentity,
    make_rotation,
)
from garage_ai.wire.ids import GatewayId, NodeId
from garage_ai.wire.link_errors import CredentialsRevoked
from garage_ai.wire.nkey import KeyPair, Role
from garage_ai.wire.versions import AgentVersion

pytestmark = pytest.mark.anyio

FAST = Backoff(first=0.02, cap=0.1, refused=0.05)


@dataclass
class House:
    """A network's books and its enrolment service."""

    tokens: EnrolmentTokens
    books: Nodes
    service: Enrolment
    nats: NatsProcess
    pusher: ClaimsPusher

    async def token(self, region: str | None = "SE-AB") -> str:
        """Make an enrolment token."""
        secret = (await self.tokens.create(region=region)).secret
        assert secret is not None
        return secret

    async def join(self, identity: NodeIdentity, token: str | None = None) -> Enrolled:
        """Enrol as a node does."""
        request = sign_enrolment(
            identity, token or await self.token(), self.service.nonce(), "garage"
        )
        return await self.service.enrol(request)


@pytest.fixture
async def house(nats: NatsProcess, tmp_path: Path) -> AsyncIterator[House]:
    """A network without nodes."""
    storage = await Storage.open(f"sqlite:///{tmp_path / 'garage.db'}")
    pusher = ClaimsPusher(nats.authority, [nats.tcp_url])
    books = Nodes(storage)
    service = Enrolment(nats.authority, books, pusher, urls=[nats.tcp_url, nats.web_url])
    yield House(EnrolmentTokens(storage), books, service, nats, pusher)
    await pusher.close()
    await storage.close()


def new_identity() -> NodeIdentity:
    """Make a node's key."""
    return NodeIdentity(KeyPair.generate(Role.USER))


@dataclass
class Home:
    """A node's folder and link."""

    folder: IdentityFolder
    node: NodeId
    told: Told
    link: Connection


async def home(house: House, path: Path) -> Home:
    """Enrol and connect as the agent does."""
    folder = IdentityFolder(path)
    enrolled = await house.join(folder.open_or_create())
    folder.save_jwt(enrolled.jwt)
    told = Told()
    link = await connect(
        enrolled.urls,
        credentials=NodeCredentials(folder, folder.load),
        name=enrolled.node,
        listeners=told.listeners(),
        backoff=FAST,
        give_up_after=20,
    )
    return Home(folder, enrolled.node, told, link)


async def test_an_enrolled_node_works_at_once(house: House, tmp_path: Path) -> None:
    """What enrolment gives is enough to connect and beat in its region."""
    mine = await home(house, tmp_path / "node")
    gateway = await connect(
        [house.nats.tcp_url],
        credentials=house.nats.authority.gateway_credentials(GatewayId("gaaaaaaaaaa")),
        name="gateway",
        give_up_after=20,
    )
    got: asyncio.Queue[Message] = asyncio.Queue()
    await gateway.subscribe(subjects.ALL_BEATS, got.put_nowait)
    await gateway.flush()
    mine.link.publish(subjects.beat("SE-AB", mine.node), b"here")
    assert (await asyncio.wait_for(got.get(), 20)).payload == b"here"
    await mine.link.close()
    await gateway.close()


@pytest.mark.parametrize("how", ["removed", "rotated"])
async def test_who_was_let_go_by_a_gateway_killed_then_is_cut_off(
    house: House, tmp_path: Path, how: str
) -> None:
    """The books know it alone; the next start writes it down, and the servers hear."""
    mine = await home(house, tmp_path / "node")
    old = mine.folder.load().public_key
    if how == "removed":
        await house.books.remove(mine.node)
    else:
        await house.books.rotate_key(mine.node, old, new_identity().public_key)
    await house.service.catch_up()
    await house.pusher.agree()
    await mine.told.until(lambda: bool(mine.told.lost), 20)
    assert isinstance(mine.told.lost[0], CredentialsRevoked)
    assert house.nats.authority.record_missing({old: time.time()}) == 0
    await mine.link.close()


async def test_a_lost_answer_may_be_asked_for_again(house: House) -> None:
    """The same token and key give the same node; with another key the token is used up."""
    identity, token = new_identity(), await house.token()
    first, second = await house.join(identity, token), await house.join(identity, token)
    assert first.node == second.node
    assert first.urls == (house.nats.tcp_url, house.nats.web_url)
    assert (first.region, first.ca_pem, first.versions) == ("SE-AB", None, (1,))
    assert [node.id for node in await house.books.list()] == [first.node]
    with pytest.raises(TokenUsed):
        await house.join(new_identity(), token)


async def test_a_fingerprint_behind_the_token_changes_nothing(house: House) -> None:
    """The token as pasted, with the CA's fingerprint, is the same token."""
    token = await house.token()
    identity = new_identity()
    first = await house.join(identity, f"{token}.{'a' * 64}")
    assert (await house.join(identity, token)).node == first.node


async def test_only_the_holder_of_the_key_enrols_it(house: House) -> None:
    """Without the key's signature over this nonce and token, nothing is used up."""
    token, nonce = await house.token(), house.service.nonce()
    good = sign_enrolment(new_identity(), token, nonce, "garage")
    forged = [
        msgspec.structs.replace(good, public_key=new_identity().public_key),
        msgspec.structs.replace(good, nonce=house.service.nonce()),
        msgspec.structs.replace(good, token=await house.token()),
        msgspec.structs.replace(good, signature="A" * 86),
        msgspec.structs.replace(good, signature="å"),
    ]
    for request in forged:
        with pytest.raises(ProofRefused):
            await house.service.enrol(request)
    with pytest.raises(NonceUnusable):
        await house.service.enrol(msgspec.structs.replace(good, nonce="x" * 40))
    assert await house.books.list() == []
    assert (await house.service.enrol(good)).region == "SE-AB"


@pytest.mark.parametrize("agent", ["0.1.9", "", "new"])
async def test_an_agent_that_is_too_old_keeps_its_token(house: House, agent: str) -> None:
    """It is told what to type, and the same token then lets the newer agent in."""
    picky = Enrolment(
        house.nats.authority,
        house.books,
        house.pusher,
        urls=[house.nats.tcp_url],
        min_agent=AgentVersion(0, 2, 0),
    )
    identity, token = new_identity(), await house.token()
    old = sign_enrolment(identity, token, picky.nonce(), "garage", agent=agent)
    with pytest.raises(AgentTooOld, match=r"from version 0\.2\.0 on.*gai node update"):
        await picky.enrol(old)
    new = sign_enrolment(identity, token, picky.nonce(), "garage", agent="0.2.0")
    assert (await picky.enrol(new)).node


async def test_no_message_holds_the_nodes_key(house: House, tmp_path: Path) -> None:
    """What leaves the node has no seed in it, in any request it can make."""
    folder = IdentityFolder(tmp_path / "node")
    identity = folder.create()
    seed = (tmp_path / "node" / "node.nk").read_text().strip()
    nonce = house.service.nonce()
    enrolled = await house.join(identity)
    following = folder.begin_rotation()
    said = [
        sign_enrolment(identity, await house.token(), nonce, "garage"),
        sign_proof(identity, "renew", enrolled.node, nonce),
        make_rotation(enrolled.node, nonce, identity, following),
        enrolled,
        decode(enrolled.jwt, issuers=None),
    ]
    next_seed = (tmp_path / "node" / "node.nk.next").read_text().strip()
    for each in said:
        raw = msgspec.json.encode(each).decode() + repr(identity) + repr(each)
        assert seed not in raw
        assert next_seed not in raw


async def test_a_removed_node_is_cut_off_for_good(house: House, tmp_path: Path) -> None:
    """Its connection ends within five seconds, and neither renewal nor token lets it back."""
    mine = await home(house, tmp_path / "node")
    identity = mine.folder.load()
    token = await house.token()
    async with asyncio.timeout(5):
        assert await house.service.remove(mine.node)
        await mine.told.until(lambda: bool(mine.told.lost))
    assert isinstance(mine.told.lost[0], CredentialsRevoked)
    await mine.link.close()
    with pytest.raises(NodeGone):
        await house.service.renew(mine.node)
    proof = sign_proof(identity, "renew", mine.node, house.service.nonce())
    with pytest.raises(NodeGone):
        await house.service.renew_by_proof(proof)
    with pytest.raises(NodeRemoved):
        await house.join(identity, token)
    assert await house.service.remove(mine.node)


async def test_a_clock_that_is_ahead_keeps_nobody_in(house: House, tmp_path: Path) -> None:
    """A JWT that another gateway gave a moment before is as void as all the others."""
    ahead = Authority.open_or_create(tmp_path / "nats", clock=lambda: time.time() + 60)
    other = Enrolment(ahead, house.books, house.pusher, urls=[house.nats.tcp_url])
    mine = await home(replace(house, service=other), tmp_path / "node")
    async with asyncio.timeout(5):
        assert await house.service.remove(mine.node)
        await mine.told.until(lambda: bool(mine.told.lost))
    assert isinstance(mine.told.lost[0], CredentialsRevoked)
    await mine.link.close()


async def test_a_node_renews_by_nats_or_by_proof(house: House) -> None:
    """Both ways give a JWT of its own key; a proof for another purpose does not."""
    identity = new_identity()
    node = (await house.join(identity)).node
    by_nats = await house.service.renew(node)
    nonce = house.service.nonce()
    by_proof = await house.service.renew_by_proof(sign_proof(identity, "renew", node, nonce))
    for fresh in (by_nats, by_proof):
        assert decode(fresh.jwt, issuers=None).sub == identity.public_key
    with pytest.raises(ProofRefused):
        await house.service.renew_by_proof(sign_proof(identity, "leave", node, nonce))
    with pytest.raises(ProofRefused):
        await house.service.renew_by_proof(sign_proof(new_identity(), "renew", node, nonce))


async def test_a_node_may_leave_by_itself(house: House) -> None:
    """Its own signature removes it."""
    identity = new_identity()
    node = (await house.join(identity)).node
    await house.service.leave(sign_proof(identity, "leave", node, house.service.nonce()))
    assert await house.books.list() == []


async def test_a_rotated_key_takes_over_and_the_old_one_is_cut_off(
    house: House, tmp_path: Path
) -> None:
    """The node goes on under its id with the new key, also when the answer was lost once."""
    mine = await home(house, tmp_path / "node")
    old, new = mine.folder.load(), mine.folder.begin_rotation()
    rotation = make_rotation(mine.node, house.service.nonce(), old, new)
    lost = await house.service.rotate(rotation)
    assert decode(lost.jwt, issuers=None).sub == new.public_key
    answer = await house.service.rotate(rotation)
    mine.folder.save_jwt(answer.jwt)
    assert mine.folder.end_rotation().public_key == new.public_key
    await mine.told.until(lambda: bool(mine.told.lost))
    await mine.link.wait_connected(20)
    stranger = new_identity()
    with pytest.raises(ProofRefused):
        await house.service.rotate(make_rotation(mine.node, house.service.nonce(), old, stranger))
    with pytest.raises(ProofRefused):
        await house.service.rotate(
            make_rotation(mine.node, house.service.nonce(), stranger, new_identity())
        )
    await mine.link.close()

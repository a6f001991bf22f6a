"""Two real nats-servers that know each other: either may go, and both know who was cut off."""

import asyncio
import shutil
import signal
import time
from collections.abc import AsyncIterator, Callable
from itertools import count
from pathlib import Path

import pytest
from tests.integration.network.conftest import SMALL, FakeBooks, a_network, until
from tests.integration.network.test_dispatch import read, request
from tests.integration.network.test_revocation import Fixed
from tests.parts.credentials import Told, is_revoked, node_credentials
from tests.parts.nats import NatsProcess, two_free_ports
from tests.parts.scripted_node import DONE, ROLE, STOP, ScriptedNode, answer_plainly, event

from garage_ai.network import claims_push
from garage_ai.network.authority import Authority, Clock
from garage_ai.network.claims_push import ClaimsPusher
from garage_ai.network.errors import DispatchError
from garage_ai.network.models import EnrolledNode
from garage_ai.network.network import Network
from garage_ai.wire.connection import Backoff, connect
from garage_ai.wire.ids import NodeId
from garage_ai.wire.link_errors import CredentialsRevoked, Refused
from garage_ai.wire.messages import ModelServed
from garage_ai.wire.nkey import KeyPair, Role

pytestmark = pytest.mark.anyio

WHOLE = ROLE + event("hej") + STOP + DONE
NODE = NodeId("n0")
Pair = tuple[NatsProcess, NatsProcess]
MakeCopy = Callable[..., Authority]


@pytest.fixture
async def pair(authority: Authority, tmp_path: Path) -> AsyncIterator[Pair]:
    """Two servers of one cluster, as the how-to page has them."""
    ports = two_free_ports()
    made = (
        in_cluster(authority, tmp_path, "one", *ports),
        in_cluster(authority, tmp_path, "two", *reversed(ports)),
    )
    for each in made:
        await each.start()
    yield made
    for each in made:
        each.stop()


def in_cluster(authority: Authority, folder: Path, name: str, port: int, other: int) -> NatsProcess:
    """Make a server with a name of its own and a route to the other one."""
    routes = f"routes: [ nats-route://127.0.0.1:{other} ]"
    more = f"cluster {{\n name: garage\n listen: 127.0.0.1:{port}\n {routes}\n}}\n"
    process = NatsProcess(authority, folder / name, more=more)
    process.server.server_name = name
    return process


async def test_either_server_may_die(pair: Pair, authority: Authority, books: FakeBooks) -> None:
    """A gateway at one and a node at the other work together, and go on when one is killed."""
    one, two = pair
    books.enrolled[NODE] = EnrolledNode(NODE, "mbr_n0", "n0", None)
    async with a_network([one.tcp_url, two.tcp_url], authority, books) as network:
        node = await ScriptedNode.join(
            two.tcp_url, authority, NODE, ModelServed(SMALL.name, SMALL.digest, slots=2)
        )
        node.scripts = [answer_plainly]
        await beat_until_answered(network, node)
        one.stop(signal.SIGKILL)
        await beat_until_answered(network, node)
        await node.close()


async def beat_until_answered(network: Network, node: ScriptedNode) -> None:
    """Beat and ask until an answer is whole: servers of a cluster need a moment to meet."""
    async with asyncio.timeout(30):
        while True:
            await node.beat()
            try:
                assert await read(await network.open(request())) == WHOLE
            except DispatchError:
                await asyncio.sleep(0.05)
            else:
                return


async def test_who_is_cut_off_at_one_is_out_at_both(pair: Pair, authority: Authority) -> None:
    """Told to one server, the other closes the connection, and knows it after a restart alone."""
    one, two = pair
    told, credentials = Told(), node_credentials(authority)
    node = await connect(
        [two.tcp_url],
        credentials=Fixed(credentials.pair, credentials.jwt()),
        name="node",
        listeners=told.listeners(),
        backoff=Backoff(first=0.02, cap=0.1, refused=0.05),
        give_up_after=20,
    )
    await until(lambda: has_met(two), 20)
    assert await ClaimsPusher(authority, [one.tcp_url]).revoke(credentials.pair.public)
    await told.until(lambda: bool(told.lost), 20)
    assert isinstance(told.lost[0], CredentialsRevoked)
    for each in pair:
        each.stop()
    told.errors.clear()
    await two.start()
    await told.until(lambda: any(isinstance(error, Refused) for error in told.errors))
    assert len(told.connected) == 1
    await node.close()


@pytest.fixture
def copy(authority: Authority, tmp_path: Path) -> MakeCopy:
    """Make copies of the network's keys as they were made, for gateways on other machines."""
    del authority
    first, numbers = tmp_path / "first", count()
    shutil.copytree(tmp_path / "nats", first)

    def make(clock: Clock = time.time) -> Authority:
        folder = tmp_path / f"copy-{next(numbers)}"
        shutil.copytree(first, folder)
        return Authority.open_or_create(folder, clock=clock)

    return make


async def are_cut_off(server: NatsProcess, copy: MakeCopy, *keys: str) -> bool:
    """Ask a server, as a gateway that knows of nobody."""
    fresh = copy()
    await ClaimsPusher(fresh, [server.tcp_url], seconds=20).agree()
    return all(is_revoked(fresh, key, time.time() - 60) for key in keys)


async def test_gateways_with_copies_of_the_keys_cut_off_for_all(
    pair: Pair, authority: Authority, copy: MakeCopy
) -> None:
    """Each at its own server and with a list of its own: nobody who was cut off comes back."""
    one, two = pair
    await until(lambda: has_met(two), 20)
    first = ClaimsPusher(authority, [one.tcp_url], seconds=20)
    second = ClaimsPusher(copy(), [two.tcp_url], seconds=20)
    keys = [KeyPair.generate(Role.USER).public for _ in range(3)]
    for pusher, key in zip((first, second, first), keys, strict=True):
        assert await pusher.revoke(key)
    for server in pair:
        await until_cut_off(server, copy, *keys)


async def test_what_was_pushed_at_the_same_moment_is_put_right(
    pair: Pair, authority: Authority, copy: MakeCopy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of two that had looked before either pushed, the servers keep one: the other looks again."""
    monkeypatch.setattr(claims_push, "SOON_SECONDS", 0.05)
    one, _ = pair
    mine, theirs = (KeyPair.generate(Role.USER).public for _ in range(2))
    pusher = ClaimsPusher(authority, [one.tcp_url], seconds=20)
    assert await pusher.revoke(mine)
    other = copy(lambda: time.time() + 60)
    other.record_revocation(theirs, time.time())
    link = await connect(
        [one.tcp_url], credentials=copy().system_credentials(), name="other", give_up_after=20
    )
    await claims_push._push(link, other.garage_jwt())
    await link.close()
    assert not await are_cut_off(one, copy, mine)
    pusher.start()
    await until_cut_off(one, copy, mine, theirs)
    await pusher.close()


async def until_cut_off(server: NatsProcess, copy: MakeCopy, *keys: str) -> None:
    async with asyncio.timeout(30):
        while True:
            if await are_cut_off(server, copy, *keys):
                return
            await asyncio.sleep(0.05)


def has_met(server: NatsProcess) -> bool:
    """Tell from its log whether a server has a route to another."""
    log = server.server.log_file
    return log.exists() and "Route connection created" in log.read_text("utf-8", "replace")

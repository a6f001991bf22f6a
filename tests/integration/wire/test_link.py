"""A link to a real nats-server, through all that can happen to it."""

import asyncio
import gc
import signal
from itertools import pairwise
from pathlib import Path

import pytest
from structlog.testing import capture_logs
from tests.parts.credentials import NODE, REGION, Told, node_credentials
from tests.parts.nats import NatsProcess, two_free_ports

from garage_ai.network.authority import Authority
from garage_ai.wire import subjects
from garage_ai.wire.connection import Backoff, Connection, Credentials, Message, connect
from garage_ai.wire.identity import IdentityFolder, NodeCredentials
from garage_ai.wire.ids import GatewayId
from garage_ai.wire.link_errors import (
    BadCredentials,
    CredentialsExpired,
    HandlerFailed,
    LinkDown,
    LinkError,
    LinkLost,
    PayloadTooLarge,
    Refused,
    TlsFailed,
    Unreachable,
)
from garage_ai.wire.nkey import KeyPair, Role
from garage_ai.wire.session import Session

pytestmark = pytest.mark.anyio

GATEWAY = GatewayId("gaaaaaaaaaa")
FAST = Backoff(first=0.02, cap=0.2, refused=0.05)


async def gateway_link(nats: NatsProcess, told: Told | None = None) -> Connection:
    """Open a gateway's link."""
    return await connect(
        [nats.tcp_url],
        credentials=nats.authority.gateway_credentials(GATEWAY),
        name="gateway",
        listeners=(told or Told()).listeners(),
        backoff=FAST,
        give_up_after=20,
    )


async def node_link(nats: NatsProcess, told: Told | None = None, url: str = "") -> Connection:
    """Open a node's link."""
    return await connect(
        [url or nats.tcp_url],
        credentials=node_credentials(nats.authority),
        name="node",
        listeners=(told or Told()).listeners(),
        backoff=FAST,
        give_up_after=20,
    )


async def first_error(urls: list[str], credentials: Credentials) -> LinkError:
    """Give the first thing that goes wrong on a link that cannot come up."""
    told = Told()
    link = Connection(
        urls, credentials=credentials, name="node", listeners=told.listeners(), backoff=FAST
    )
    link.start()
    await told.until(lambda: bool(told.errors))
    assert link.last_error is told.errors[-1]
    await link.close()
    assert told.connected == []
    return told.errors[0]


class Inbox:
    """Collects messages."""

    def __init__(self) -> None:
        self.queue: asyncio.Queue[Message] = asyncio.Queue()

    def __call__(self, message: Message) -> None:
        self.queue.put_nowait(message)

    async def next(self, seconds: float = 20) -> Message:
        """Give the next message."""
        return await asyncio.wait_for(self.queue.get(), seconds)


@pytest.mark.parametrize("web", [False, True])
async def test_ten_thousand_messages_arrive_whole_and_in_order(
    nats: NatsProcess, web: bool
) -> None:
    """Nothing is dropped or reordered in a burst, over TCP and WebSocket alike."""
    gateway = await gateway_link(nats)
    node = await node_link(nats, url=nats.web_url if web else nats.tcp_url)
    inbox = Inbox()
    await node.subscribe(subjects.all_to_node(NODE), inbox)
    await node.flush()
    job = subjects.to_node(NODE, "job")
    for number in range(10_000):
        gateway.publish(job, b"%d" % number + b"x" * (number % 2000))
        if gateway.congested:
            await gateway.flush()
    got = [await inbox.next() for _ in range(10_000)]
    assert [int(each.payload.rstrip(b"x")) for each in got] == list(range(10_000))
    assert all(len(each.payload.lstrip(b"0123456789")) == n % 2000 for n, each in enumerate(got))
    await node.close()
    await gateway.close()


async def test_who_gives_up_a_flush_leaves_the_link_as_it_was(nats: NatsProcess) -> None:
    """The server's answer to it comes later, and finds nobody; all else is still heard."""
    gateway, node = await gateway_link(nats), await node_link(nats)
    inbox = Inbox()
    await node.subscribe(subjects.all_to_node(NODE), inbox)
    await node.flush()
    for _ in range(3):
        flushing = asyncio.create_task(node.flush())
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        flushing.cancel()
        await asyncio.wait({flushing})
    await node.flush()
    gateway.publish(subjects.to_node(NODE, "job"), b"still there")
    assert (await inbox.next()).payload == b"still there"
    await node.close()
    await gateway.close()


async def test_a_killed_server_that_returns_finds_everybody_back(nats: NatsProcess) -> None:
    """After kill -9 and a restart both sides reconnect and hear what they heard."""
    seen = Told()
    gateway, node = await gateway_link(nats, seen), await node_link(nats)
    inbox = Inbox()
    await gateway.subscribe(subjects.ALL_BEATS, inbox)
    nats.stop(signal.SIGKILL)
    await seen.until(lambda: len(seen.lost) == 1)
    assert isinstance(seen.lost[0], LinkLost)
    with pytest.raises(LinkDown):
        gateway.publish("gai.v1.node.x.job", b"")
    with pytest.raises(LinkDown):
        await gateway.flush()
    await nats.start()
    await gateway.wait_connected(20)
    await node.wait_connected(20)
    node.publish(subjects.beat(REGION, NODE), b"again")
    assert (await inbox.next()).payload == b"again"
    assert gateway.last_error is None
    await node.close()
    await gateway.close()


async def test_a_frozen_server_is_noticed(
    nats: NatsProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server that takes bytes and says nothing is given up after two missed pings."""
    monkeypatch.setattr("garage_ai.wire.session.PING_SECONDS", 0.1)
    told = Told()
    link = await gateway_link(nats, told)
    nats.signal(signal.SIGSTOP)
    try:
        await told.until(lambda: bool(told.lost), 20)
    finally:
        nats.signal(signal.SIGCONT)
    await link.wait_connected(20)
    await link.close()


async def test_an_expired_jwt_is_named_and_a_renewed_one_used(
    nats: NatsProcess, authority: Authority, tmp_path: Path
) -> None:
    """The end of a JWT closes the connection with its own error; the renewed one is read anew."""
    folder = IdentityFolder(tmp_path / "node")
    identity = folder.create()
    told = Told()
    link = Connection(
        [nats.tcp_url],
        credentials=NodeCredentials(folder, folder.load),
        name="node",
        listeners=told.listeners(),
        backoff=FAST,
    )
    while not told.connected:  # one that was over before it had connected is no use
        told.errors.clear()
        folder.save_jwt(authority.node_jwt(NODE, identity.public_key, REGION, life=1))
        link.start()
        await told.until(lambda: bool(told.connected or told.errors))
    await told.until(lambda: bool(told.lost))
    assert isinstance(told.lost[0], CredentialsExpired)
    failed = len(told.errors)
    await told.until(lambda: any(isinstance(error, Refused) for error in told.errors[failed:]))
    assert link.state == "refused"
    folder.save_jwt(authority.node_jwt(NODE, identity.public_key, REGION))
    await link.wait_connected(20)
    await link.close()


async def test_a_renewed_jwt_comes_into_force_by_a_plain_reconnect(
    nats: NatsProcess, authority: Authority, tmp_path: Path
) -> None:
    """`reconnect` takes the JWT saved last, without any pause, and keeps subscriptions."""
    folder = IdentityFolder(tmp_path / "node")
    identity = folder.create()
    shown: list[str] = []

    class Watched(NodeCredentials):
        def jwt(self) -> str:
            shown.append(super().jwt())
            return shown[-1]

    first, renewed = (
        authority.node_jwt(NODE, identity.public_key, REGION, life=life) for life in (600, None)
    )
    folder.save_jwt(first)
    told, inbox = Told(), Inbox()
    link = await connect(
        [nats.tcp_url],
        credentials=Watched(folder, folder.load),
        name="node",
        listeners=told.listeners(),
        give_up_after=20,
    )
    await link.subscribe(subjects.all_to_node(NODE), inbox)
    folder.save_jwt(renewed)
    await link.reconnect()
    await told.until(lambda: len(told.connected) == 2)
    assert shown == [first, renewed]
    gateway = await gateway_link(nats)
    gateway.publish(subjects.to_node(NODE, "control"), b"still here")
    assert (await inbox.next()).payload == b"still here"
    await gateway.close()
    await link.close()


async def test_a_strangers_jwt_is_refused(nats: NatsProcess, tmp_path: Path) -> None:
    """A JWT of another network is turned down as such, not as a network fault."""
    stranger = Authority.open_or_create(tmp_path / "elsewhere")
    error = await first_error([nats.tcp_url], node_credentials(stranger))
    assert (type(error), error.code) == (Refused, "link_refused")


async def test_a_jwt_without_its_key_is_refused(nats: NatsProcess) -> None:
    """Whoever only has the JWT cannot connect."""

    class Thief:
        def __init__(self) -> None:
            self._own = KeyPair.generate(Role.USER)
            self._victim = node_credentials(nats.authority)

        def jwt(self) -> str:
            return self._victim.jwt()

        def sign(self, nonce: bytes) -> bytes:
            return self._own.sign(nonce)

    assert isinstance(await first_error([nats.tcp_url], Thief()), Refused)


async def test_addresses_are_tried_in_order_and_kinds_may_be_mixed(nats: NatsProcess) -> None:
    """A dead TCP address is passed over for a WebSocket one."""
    dead, _ = two_free_ports()
    told = Told()
    link = await connect(
        [f"nats://127.0.0.1:{dead}", nats.web_url, nats.tcp_url],
        credentials=node_credentials(nats.authority),
        name="node",
        listeners=told.listeners(),
        give_up_after=20,
    )
    assert link.url == nats.web_url
    assert [type(error) for error in told.errors] == [Unreachable]
    await link.close()


@pytest.mark.parametrize("scheme", ["nats", "tls", "ws", "wss"])
async def test_without_a_server_it_says_unreachable(authority: Authority, scheme: str) -> None:
    """Each kind of address ends in the same typed error, and leaves nothing behind."""
    dead, _ = two_free_ports()
    url = f"{scheme}://127.0.0.1:{dead}"
    assert isinstance(await first_error([url], node_credentials(authority)), Unreachable)


async def test_who_gives_up_is_told_the_last_error(authority: Authority) -> None:
    """The error names the address, not that time has passed."""
    dead, _ = two_free_ports()
    url = f"nats://127.0.0.1:{dead}"
    with pytest.raises(Unreachable, match=r"127\.0\.0\.1"):
        await connect([url], credentials=node_credentials(authority), name="n", give_up_after=1)


async def test_a_link_closed_at_any_moment_of_its_connecting_leaves_nothing_open(
    nats: NatsProcess,
) -> None:
    """Whatever was under way over WebSocket, also the close of an attempt that failed."""
    dead, _ = two_free_ports()
    urls = [f"ws://127.0.0.1:{dead}", nats.web_url]
    for moment in range(60):
        link = Connection(urls, credentials=node_credentials(nats.authority), name="node")
        link.start()
        for _ in range(moment):
            await asyncio.sleep(0)
        await link.close()
    gc.collect()  # what was left open says so, and a warning is an error


async def test_a_tls_address_without_tls_is_refused_before_anything_is_signed(
    nats: NatsProcess,
) -> None:
    """A server (or someone in between) that drops TLS gets neither JWT nor signature."""
    asked: list[bytes] = []
    inner = node_credentials(nats.authority)

    class Watched:
        def jwt(self) -> str:
            asked.append(b"jwt")
            return inner.jwt()

        def sign(self, nonce: bytes) -> bytes:
            asked.append(nonce)
            return inner.sign(nonce)

    url = nats.tcp_url.replace("nats://", "tls://")
    assert isinstance(await first_error([url], Watched()), TlsFailed)
    assert asked == []


async def test_a_missing_key_file_is_named(nats: NatsProcess, tmp_path: Path) -> None:
    """Credentials that cannot be read end in an error that says which file."""
    folder = IdentityFolder(tmp_path / "nobody")
    error = await first_error([nats.tcp_url], NodeCredentials(folder, folder.load))
    assert isinstance(error, BadCredentials)
    assert "node.nk does not exist" in str(error)


async def test_a_handler_that_raises_is_reported_and_the_link_lives(nats: NatsProcess) -> None:
    """One bad message costs no other."""
    told, inbox = Told(), Inbox()
    gateway, node = await gateway_link(nats, told), await node_link(nats)

    def fails_once(message: Message) -> None:
        if message.payload == b"bad":
            raise KeyError("no such thing")
        inbox(message)

    await gateway.subscribe(subjects.ALL_BEATS, fails_once)
    await gateway.flush()
    with capture_logs() as logs:
        for payload in (b"bad", b"good"):
            node.publish(subjects.beat(REGION, NODE), payload)
        assert (await inbox.next()).payload == b"good"
    assert [type(error) for error in told.errors] == [HandlerFailed]
    [entry] = [entry for entry in logs if entry["log_level"] == "error"]
    assert (entry["code"], type(entry["exc_info"])) == ("handler_failed", KeyError)
    await node.close()
    await gateway.close()


async def test_a_payload_over_the_jwts_limit_never_leaves(nats: NatsProcess) -> None:
    """A node may send 128 KiB at once; more is refused here, not by a closed connection."""
    told = Told()
    node = await node_link(nats, told)
    node.publish(subjects.beat(REGION, NODE), b"x" * 128 * 1024)
    with pytest.raises(PayloadTooLarge):
        node.publish(subjects.beat(REGION, NODE), b"x" * (128 * 1024 + 1))
    await node.flush()
    assert (node.state, told.lost) == ("connected", [])
    await node.close()


async def test_what_is_subscribed_to_while_it_dials_is_heard(
    nats: NatsProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Even while the server is asked whether it has taken all others."""
    flush, heard = Session.flush, asyncio.Event()
    link = Connection([nats.tcp_url], credentials=node_credentials(nats.authority), name="node")
    asked: list[object] = []

    async def meanwhile(self: Session, seconds: float) -> None:
        if not asked:
            asked.append(await link.subscribe(subjects.all_to_node(NODE), lambda _: heard.set()))
        await flush(self, seconds)

    monkeypatch.setattr(Session, "flush", meanwhile)
    link.start()
    await link.wait_connected(10)
    gateway = await gateway_link(nats)
    gateway.publish(subjects.to_node(NODE, "job"), b"x")
    await asyncio.wait_for(heard.wait(), 20)
    await gateway.close()
    await link.close()


async def test_after_close_of_a_subscription_nothing_is_heard(nats: NatsProcess) -> None:
    """Also not after a reconnect."""
    told, inbox = Told(), Inbox()
    gateway, node = await gateway_link(nats, told), await node_link(nats)
    subscription = await gateway.subscribe(subjects.ALL_BEATS, inbox)
    await subscription.close()
    for _ in range(2):
        await gateway.flush()
        node.publish(subjects.beat(REGION, NODE), b"x")
        await node.flush()
        await gateway.flush()
        await gateway.reconnect()
        await gateway.wait_connected(20)
    assert inbox.queue.empty()
    await node.close()
    await gateway.close()


async def test_what_was_flushed_arrives_before_the_close(nats: NatsProcess) -> None:
    """Nothing is lost, and who closes twice closes once."""
    inbox = Inbox()
    gateway, node = await gateway_link(nats), await node_link(nats)
    await gateway.subscribe(subjects.ALL_BEATS, inbox)
    await gateway.flush()
    for number in range(500):
        node.publish(subjects.beat(REGION, NODE), b"%d" % number)
    await node.flush()
    await node.close()
    await node.close()
    assert [(await inbox.next()).payload for _ in range(500)] == [b"%d" % n for n in range(500)]
    assert node.state == "closed"
    with pytest.raises(LinkDown):
        await node.wait_connected(1)
    await gateway.close()


async def test_closing_towards_a_frozen_server_is_bounded(nats: NatsProcess) -> None:
    """A server that says nothing more cannot hold up a shutdown."""
    links = [await node_link(nats), await node_link(nats, url=nats.web_url)]
    nats.signal(signal.SIGSTOP)
    try:
        before = asyncio.get_running_loop().time()
        await asyncio.gather(*(link.close() for link in links))
        assert asyncio.get_running_loop().time() - before < 15
    finally:
        nats.signal(signal.SIGCONT)


def test_backoff_doubles_to_its_cap_with_jitter() -> None:
    """Rounds of failures wait longer and longer, refused ones at least their own time."""
    backoff = Backoff(first=0.1, cap=5.0, refused=2.0)
    waits = [backoff.delay(n, refused=False, jitter=1.0) for n in range(40)]
    assert waits[0] == 0
    assert all(a <= b for a, b in pairwise(waits))
    assert waits[-1] == 5.0
    assert backoff.delay(1, refused=False, jitter=0.0) == pytest.approx(0.05)
    assert backoff.delay(1, refused=True, jitter=0.0) == pytest.approx(1.0)

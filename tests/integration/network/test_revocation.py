"""Cutting a node off on a real nats-server."""

import errno
import time
from pathlib import Path

import pytest
from tests.integration.conftest import MakeNats
from tests.parts.credentials import OTHER, Told, cut_off, is_revoked, node_credentials
from tests.parts.nats import NatsProcess, two_free_ports

from garage_ai.network.authority import Authority
from garage_ai.network.authority_errors import ClaimsNotPushed
from garage_ai.network.claims_push import PUSH_SECONDS, ClaimsPusher
from garage_ai.wire.connection import Backoff, Connection, Credentials, connect
from garage_ai.wire.ids import GatewayId
from garage_ai.wire.link_errors import CredentialsRevoked, Refused
from garage_ai.wire.nkey import KeyPair, Role

pytestmark = pytest.mark.anyio

FAST = Backoff(first=0.02, cap=0.1, refused=0.05)


async def link(
    nats: NatsProcess, credentials: Credentials, told: Told, url: str = ""
) -> Connection:
    """Open a link that tells."""
    return await connect(
        [url or nats.tcp_url],
        credentials=credentials,
        name="node",
        listeners=told.listeners(),
        backoff=FAST,
        give_up_after=20,
    )


@pytest.mark.parametrize("web", [False, True])
async def test_a_revoked_node_is_closed_within_five_seconds_and_stays_out(
    nats: NatsProcess, authority: Authority, web: bool
) -> None:
    """Its connection ends at once, it cannot return, also not after a restart; others stay."""
    mine, others = Told(), Told()
    credentials = node_credentials(authority)
    fixed = credentials.jwt()
    node = await link(nats, Fixed(credentials.pair, fixed), mine, nats.web_url if web else "")
    other = await link(nats, node_credentials(authority, OTHER), others)
    started = time.monotonic()
    assert await ClaimsPusher(authority, [nats.tcp_url]).revoke(credentials.pair.public)
    await mine.until(lambda: bool(mine.lost), 20)
    assert time.monotonic() - started < 5
    assert isinstance(mine.lost[0], CredentialsRevoked)
    await mine.until(lambda: any(isinstance(error, Refused) for error in mine.errors))
    assert (other.state, others.lost) == ("connected", [])

    nats.stop()
    mine.errors.clear()
    await nats.start()
    await other.wait_connected(20)
    await mine.until(lambda: any(isinstance(error, Refused) for error in mine.errors))
    assert len(mine.connected) == 1
    await node.close()
    await other.close()


@pytest.mark.parametrize("when", ["before its start", "while it runs"])
async def test_a_server_takes_the_longest_list(
    make_nats: MakeNats, authority: Authority, when: str
) -> None:
    """As many as are kept, from its configuration and by a push: who comes last is cut off."""
    nats, told = make_nats(), Told()
    if when == "while it runs":
        await nats.start()
    cut_off(authority, 4_998, int(time.time()))
    if when == "before its start":
        await nats.start()
    credentials = node_credentials(authority)
    node = await link(nats, Fixed(credentials.pair, credentials.jwt()), told)
    assert await ClaimsPusher(authority, [nats.tcp_url]).revoke(credentials.pair.public)
    await told.until(lambda: bool(told.lost))
    assert isinstance(told.lost[0], CredentialsRevoked)
    assert len(authority.garage_jwt()) > 400_000
    await node.close()


class Fixed:
    """A node that keeps the JWT it once got."""

    def __init__(self, pair: KeyPair, jwt: str) -> None:
        self._pair = pair
        self._jwt = jwt

    def jwt(self) -> str:
        """Give the old JWT."""
        return self._jwt

    def sign(self, nonce: bytes) -> bytes:
        """Sign."""
        return self._pair.sign(nonce)


async def test_two_revocations_within_a_second_both_bite(
    nats: NatsProcess, authority: Authority
) -> None:
    """The second account JWT is newer than the first though the clock shows the same second."""
    pairs = [node_credentials(authority), node_credentials(authority, OTHER)]
    tolds = [Told(), Told()]
    links = [await link(nats, Fixed(c.pair, c.jwt()), t) for c, t in zip(pairs, tolds, strict=True)]
    pusher = ClaimsPusher(authority, [nats.tcp_url])
    for each in pairs:
        assert await pusher.revoke(each.pair.public)
    await tolds[0].until(lambda: bool(tolds[0].lost), 20)
    await tolds[1].until(lambda: bool(tolds[1].lost), 20)
    for node in links:
        await node.close()


async def test_a_jwt_issued_after_the_revocation_is_good(
    nats: NatsProcess, authority: Authority
) -> None:
    """A revocation ends what was issued before it, no more."""
    credentials = node_credentials(authority)
    assert await ClaimsPusher(authority, [nats.tcp_url]).revoke(
        credentials.pair.public, time.time() - 10
    )
    node = await link(nats, credentials, Told())
    await node.close()


async def test_without_a_server_a_revocation_is_kept_and_told_later(
    nats: NatsProcess, authority: Authority
) -> None:
    """What no server could be told is told when one answers again."""
    told = Told()
    credentials = node_credentials(authority)
    node = await link(nats, Fixed(credentials.pair, credentials.jwt()), told)
    dead, _ = two_free_ports()
    urls = [f"nats://127.0.0.1:{dead}"]
    pusher = ClaimsPusher(authority, urls, seconds=0.3)
    with pytest.raises(ClaimsNotPushed):
        await pusher.agree()
    assert is_revoked(authority, credentials.pair.public, time.time() - 5) is False
    assert await pusher.revoke(credentials.pair.public) is False
    assert is_revoked(authority, credentials.pair.public, time.time() - 5) is True
    urls[0], pusher._seconds = nats.tcp_url, PUSH_SECONDS
    pusher.start()
    await told.until(lambda: bool(told.lost), 20)
    await pusher.close()
    await node.close()


async def test_a_full_disk_puts_a_revocation_off_and_ends_nothing(
    nats: NatsProcess, authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is told when there is room again."""
    told = Told()
    credentials = node_credentials(authority)
    node = await link(nats, Fixed(credentials.pair, credentials.jwt()), told)
    agree = Authority.agree
    full = [OSError(errno.ENOSPC, "No space left on device")]

    def agree_when_there_is_room(self: Authority, account: str) -> str | None:
        if full:
            raise full.pop()
        return agree(self, account)

    monkeypatch.setattr(Authority, "agree", agree_when_there_is_room)
    pusher = ClaimsPusher(authority, [nats.tcp_url])
    pusher.start()
    assert await pusher.revoke(credentials.pair.public) is False
    await told.until(lambda: bool(told.lost), 20)
    await pusher.close()
    await node.close()


async def test_a_wrong_clock_does_not_make_a_revocation_old(
    tmp_path: Path, nats: NatsProcess, authority: Authority
) -> None:
    """When the clock was set back, the account's JWT still grows newer for the servers."""
    told = Told()
    credentials = node_credentials(authority)
    node = await link(nats, Fixed(credentials.pair, credentials.jwt()), told)
    behind = Authority.open_or_create(tmp_path / "nats", clock=lambda: time.time() - 3600)
    assert await ClaimsPusher(authority, [nats.tcp_url]).revoke(KeyPair.generate(Role.USER).public)
    behind.record_revocation(credentials.pair.public, time.time())
    await ClaimsPusher(authority, [nats.tcp_url]).agree()
    await told.until(lambda: bool(told.lost), 20)
    await node.close()


async def test_a_gateway_is_not_the_system(nats: NatsProcess, authority: Authority) -> None:
    """A gateway's own credentials cannot push accounts; only the system's can."""
    told = Told()
    gateway = await link(nats, authority.gateway_credentials(GatewayId("gaaaaaaaaaa")), told)
    gateway.publish("$SYS.REQ.CLAIMS.UPDATE", authority.garage_jwt().encode())
    await gateway.flush()
    assert [error.code for error in told.errors] == ["permission_denied"]
    await gateway.close()

"""Giving a node another key, cut short after any step."""

from pathlib import Path

import pytest

from garage_ai.node.errors import GatewayAway
from garage_ai.node.gateway_client import GatewayRefused
from garage_ai.node.rotation import KeyChange, begun, rotate, settled
from garage_ai.wire.claims import Claims, Permission, User, decode, encode
from garage_ai.wire.enrolment import FreshJwt
from garage_ai.wire.identity import IdentityFolder, NodeIdentity
from garage_ai.wire.ids import NodeId
from garage_ai.wire.nkey import KeyPair, Role

pytestmark = pytest.mark.anyio

NODE = NodeId("nabcdefghijkl")
ACCOUNT = KeyPair.generate(Role.ACCOUNT)


def jwt(key: str) -> str:
    allowed = Permission(allow=("gai.v1.renew.n1",))
    user = User(version=2, pub=allowed, sub=allowed, subs=1, data=1, payload=1)
    return encode(Claims(sub=key, iat=1_000_000, exp=2_000_000, nats=user), ACCOUNT)


class Killed(BaseException):
    """The process ended here."""


class Desk:
    """A gateway that keeps one key, gives the same answer twice, and may lose it."""

    def __init__(self, key: str, *, loses: int = 0) -> None:
        self.key = key
        self.before = ""
        self.loses = loses
        self.renewed = 0

    async def rotate(self, old: NodeIdentity, new: NodeIdentity, node: NodeId) -> FreshJwt:
        done = (self.before, self.key) == (old.public_key, new.public_key)
        if not done and self.key != old.public_key:
            raise GatewayRefused("another key", status=403, reason="proof_refused")
        if not done:
            self.before, self.key = self.key, new.public_key
        if self.loses:
            self.loses -= 1
            raise GatewayAway("lost")
        return FreshJwt(jwt(self.key))

    async def renew(self, identity: NodeIdentity, node: NodeId) -> FreshJwt:
        self.renewed += 1
        if identity.public_key != self.key:
            raise GatewayRefused("another key", status=403, reason="proof_refused")
        return FreshJwt(jwt(self.key))


@pytest.fixture
def folder(tmp_path: Path) -> IdentityFolder:
    """A node's folder, with a key and its JWT."""
    folder = IdentityFolder(tmp_path / "node")
    folder.save_jwt(jwt(folder.create().public_key))
    return folder


def ended(folder: IdentityFolder, desk: Desk, old: NodeIdentity) -> bool:
    key = folder.load().public_key
    kept = decode(folder.load_jwt(), issuers=None).sub
    return key == kept == desk.key != old.public_key and not begun(folder)


async def test_takes_a_new_key(folder: IdentityFolder) -> None:
    """Key, JWT and gateway agree afterwards, and nothing is left over."""
    old = folder.load()
    desk = Desk(old.public_key)
    assert not begun(folder)
    await rotate(folder, NODE, desk)
    assert ended(folder, desk, old)


@pytest.mark.parametrize("step", ["save_jwt", "end_rotation"])
async def test_goes_on_after_a_kill(
    folder: IdentityFolder, step: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed before a step on disk, it ends with the very key it had begun with."""
    old = folder.load()
    desk = Desk(old.public_key)

    def die(*_: object) -> None:
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(IdentityFolder, step, die)
        with pytest.raises(Killed):
            await rotate(folder, NODE, desk)
    assert begun(folder)
    assert folder.load().public_key == old.public_key
    taken = desk.key
    await rotate(folder, NODE, desk)
    assert desk.key == taken
    assert ended(folder, desk, old)


async def test_goes_on_before_the_gateway_knew(folder: IdentityFolder) -> None:
    """A key that was only written down is the one that is offered."""
    old = folder.load()
    new = folder.begin_rotation()
    desk = Desk(old.public_key)
    assert (await settled(folder, NODE, desk)).public_key == new.public_key
    assert ended(folder, desk, old)


async def test_a_lost_answer_is_asked_for_again(folder: IdentityFolder) -> None:
    """The new key is kept until the gateway has confirmed it."""
    old = folder.load()
    desk = Desk(old.public_key, loses=1)
    with pytest.raises(GatewayAway):
        await rotate(folder, NODE, desk)
    assert desk.key != old.public_key
    assert begun(folder)
    await rotate(folder, NODE, desk)
    assert ended(folder, desk, old)


async def test_tries_the_new_key_where_the_old_one_is_unknown(folder: IdentityFolder) -> None:
    """The gateway has the new key, however it came by it: its JWT is enough."""
    old = folder.load()
    desk = Desk(folder.begin_rotation().public_key)
    await rotate(folder, NODE, desk)
    assert desk.renewed == 1
    assert ended(folder, desk, old)


async def test_a_refusal_loses_no_key(folder: IdentityFolder) -> None:
    """Where neither key is the node's, both stay, and the owner is told."""
    old = folder.load()
    desk = Desk("another")
    with pytest.raises(GatewayRefused):
        await rotate(folder, NODE, desk)
    assert folder.load().public_key == old.public_key
    assert begun(folder)


@pytest.mark.parametrize("given", [jwt(KeyPair.generate(Role.USER).public), "nonsense"])
async def test_keeps_no_jwt_of_another_key(folder: IdentityFolder, given: str) -> None:
    """A gateway that answers nonsense changes nothing on disk but the key begun."""
    before = folder.load_jwt()

    class Odd(Desk):
        async def rotate(self, old: NodeIdentity, new: NodeIdentity, node: NodeId) -> FreshJwt:
            return FreshJwt(given)

    with pytest.raises(GatewayRefused, match="JWT"):
        await rotate(folder, NODE, Odd(""))
    assert folder.load_jwt() == before
    assert begun(folder)


async def test_settled_asks_nobody_without_need(folder: IdentityFolder) -> None:
    """With no rotation begun the key is the key."""
    desk = Desk("another")
    assert (await settled(folder, NODE, desk)).public_key == folder.load().public_key
    assert desk.renewed == 0


async def test_a_damaged_new_key_counts_as_begun(folder: IdentityFolder) -> None:
    """What cannot be read is not passed over in silence."""
    folder.begin_rotation()
    (folder.folder / "node.nk.next").write_text("nonsense")
    assert begun(folder)


async def test_tells_how_it_went() -> None:
    """Wanted until it ended; a gateway's no is no reason to try on, its absence is."""
    change = KeyChange()
    assert (change.wanted, change.status.state) == (False, "none")
    change.ask()
    assert (change.wanted, change.status.state) == (True, "under_way")
    change.failed(GatewayAway("nobody there"))
    assert not change.refused
    assert (change.wanted, change.status.code) == (False, "gateway_away")
    change.failed(GatewayRefused("no"))
    assert change.refused
    change.ask()
    change.done()
    assert (change.wanted, change.refused, change.status.state) == (False, False, "done")

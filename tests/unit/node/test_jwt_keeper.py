"""Keeping the node's JWT fresh."""

from pathlib import Path

import pytest
from tests.parts.full_disk import full_disk

from garage_ai.node.renewal import ASK_SECONDS, JwtKeeper
from garage_ai.wire.claims import Claims, Permission, User, encode
from garage_ai.wire.identity import IdentityFolder, NodeCredentials, NodeIdentity
from garage_ai.wire.nkey import KeyPair, Role

DAY = 86_400
ACCOUNT = KeyPair.generate(Role.ACCOUNT)


class Clock:
    def __init__(self) -> None:
        self.now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def folder(tmp_path: Path) -> IdentityFolder:
    return IdentityFolder(tmp_path / "node")


def jwt(key: str, issued: int = 1_000_000, days: int = 30) -> str:
    allowed = Permission(allow=("gai.v1.renew.n1",))
    user = User(version=2, pub=allowed, sub=allowed, subs=1, data=1, payload=1)
    claims = Claims(sub=key, iat=issued, exp=issued + days * DAY, nats=user)
    return encode(claims, ACCOUNT)


def kept(folder: IdentityFolder, clock: Clock) -> tuple[JwtKeeper, NodeIdentity]:
    identity = folder.create()
    folder.save_jwt(jwt(identity.public_key))
    return JwtKeeper(folder, identity, clock, clock), identity


def test_is_due_after_two_thirds(folder: IdentityFolder) -> None:
    """From its own moment within days 20 to 23 when idle, from day 29 in any case."""
    clock = Clock()
    keeper, _ = kept(folder, clock)
    assert keeper.ends_at == clock.now + 30 * DAY
    clock.now += 20 * DAY - 1
    assert keeper.due(busy=False) == "no"
    clock.now += 3 * DAY + 1
    assert keeper.due(busy=True) == "when_idle"
    clock.now += 6 * DAY
    assert keeper.due(busy=True) == "drain_now"


def test_nodes_that_began_together_have_moments_of_their_own(tmp_path: Path) -> None:
    """Of twenty some are due in the middle of those three days, and some are not."""
    clock = Clock()
    keepers = [kept(IdentityFolder(tmp_path / f"n{each}"), clock)[0] for each in range(20)]
    clock.now += 21.5 * DAY
    assert {keeper.due(busy=False) for keeper in keepers} == {"no", "when_idle"}


def test_asks_now_and_then(folder: IdentityFolder) -> None:
    """A question that got no answer is put again after five minutes."""
    clock = Clock()
    keeper, _ = kept(folder, clock)
    assert keeper.may_ask()
    assert not keeper.may_ask()
    clock.now += ASK_SECONDS
    assert keeper.may_ask()


def test_a_new_jwt_that_is_not_in_force_yet_puts_nothing_off(folder: IdentityFolder) -> None:
    """What the link came up with is what ends: a node that is never idle drains for the new one."""
    clock = Clock()
    keeper, identity = kept(folder, clock)
    clock.now += 23 * DAY
    assert keeper.take(jwt(identity.public_key, issued=int(clock.now)))
    clock.now += 6 * DAY
    assert keeper.due(busy=True) == "drain_now"
    keeper.connected()
    assert keeper.due(busy=True) == "no"


@pytest.mark.parametrize(("days", "ahead"), [(30, 40), (7, 7), (1, 0.98), (30, -40)])
def test_a_fresh_jwt_is_fresh_whatever_the_clock_says(
    folder: IdentityFolder, days: int, ahead: float
) -> None:
    """Else a node whose clock is off by the life of a JWT would drain for each new one."""
    wall, steady = Clock(), Clock()
    identity = folder.create()
    folder.save_jwt(jwt(identity.public_key, days=days))
    keeper = JwtKeeper(folder, identity, wall, steady)
    wall.now += ahead * DAY
    assert keeper.take(jwt(identity.public_key, issued=1_000_100, days=days))
    keeper.connected()
    assert keeper.due(busy=True) == "no"
    for clock in (wall, steady):
        clock.now += days * DAY * 29 / 30
    assert keeper.due(busy=True) == "drain_now"


def test_takes_a_newer_jwt_of_its_own_key_and_no_other(folder: IdentityFolder) -> None:
    """A stranger's, an older one and nonsense change nothing."""
    keeper, identity = kept(folder, Clock())
    before = folder.load_jwt()
    stranger = KeyPair.generate(Role.USER).public
    for bad in ("", "a.b.c", jwt(stranger), jwt(identity.public_key, issued=999_999)):
        assert not keeper.take(bad)
    assert folder.load_jwt() == before
    fresh = jwt(identity.public_key, issued=1_000_100)
    assert keeper.take(fresh)
    assert folder.load_jwt() == fresh
    assert keeper.ends_at == 1_000_100 + 30 * DAY


def test_a_jwt_that_the_disk_cannot_keep_is_shown_all_the_same(
    folder: IdentityFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A full disk ends no agent, and takes no node off the network."""
    keeper, identity = kept(folder, Clock())
    credentials, before = NodeCredentials(folder, folder.load), folder.load_jwt()
    first, second = (jwt(identity.public_key, issued=1_000_000 + each) for each in (100, 200))
    with full_disk(monkeypatch):
        assert keeper.take(first)
    assert credentials.jwt() == first
    assert keeper.ends_at == 1_000_100 + 30 * DAY
    assert IdentityFolder(folder.folder).load_jwt() == before
    assert keeper.take(second)
    assert credentials.jwt() == IdentityFolder(folder.folder).load_jwt() == second


def test_without_a_readable_jwt_nothing_is_due(folder: IdentityFolder) -> None:
    """The server's refusal then says what is wrong; the keeper does not guess."""
    identity = folder.create()
    keeper = JwtKeeper(folder, identity, Clock())
    assert keeper.ends_at is None
    assert keeper.due(busy=False) == "no"

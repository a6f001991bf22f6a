"""The network's keys and what is signed with them."""

import shutil
import stat
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from tests.parts.credentials import cut_off, is_revoked

from garage_ai.network import authority_keys
from garage_ai.network.authority import DAY, LONGEST_LIFE, Authority
from garage_ai.network.authority_errors import (
    AuthorityDamaged,
    AuthorityLocked,
    BadNodeKey,
    ForeignAccount,
)
from garage_ai.wire import secret_files
from garage_ai.wire.claims import Account, Claims, Operator, User, decode
from garage_ai.wire.ids import GatewayId, NodeId
from garage_ai.wire.nkey import KeyPair, PublicKey, Role

NODE = NodeId("naaaaaaaaaaaa")
NOW = 1_800_000_000


class Clock:
    """A clock that is set by hand."""

    def __init__(self) -> None:
        self.now = float(NOW)

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    """A clock at a fixed time."""
    return Clock()


@pytest.fixture
def authority(tmp_path: Path, clock: Clock) -> Authority:
    """A new network."""
    return Authority.open_or_create(tmp_path / "nats", clock=clock)


def user() -> PublicKey:
    """Make a node's public key."""
    return KeyPair.generate(Role.USER).public


def garage(authority: Authority) -> Account:
    """Read the garage account as a server would."""
    body = claims_of(authority).nats
    assert isinstance(body, Account)
    return body


def claims_of(authority: Authority) -> Claims:
    """Read the garage account's claims, signed by one of the operator's signing keys."""
    root = decode(authority.operator_jwt, issuers=(authority.operator,)).nats
    assert isinstance(root, Operator)
    signers = [PublicKey(key) for key in root.signing_keys]
    return decode(authority.garage_jwt(), issuers=signers)


def test_all_is_made_once_and_for_the_owner_alone(tmp_path: Path) -> None:
    """A second opening finds the same network; folders are 0700, files 0600."""
    first = Authority.open_or_create(tmp_path / "nats")
    second = Authority.open_or_create(tmp_path / "nats")
    assert first.account_jwts() == second.account_jwts()
    assert (first.operator, first.nonce_key) == (second.operator, second.nonce_key)
    for path in (tmp_path / "nats").rglob("*"):
        assert stat.S_IMODE(path.stat().st_mode) == (0o700 if path.is_dir() else 0o600)


def test_of_many_that_open_at_once_all_get_the_same(tmp_path: Path) -> None:
    """Gateways that start together agree on one network."""
    with ThreadPoolExecutor(6) as pool:
        opened = list(pool.map(lambda _: Authority.open_or_create(tmp_path / "nats"), range(12)))
    assert len({each.operator for each in opened}) == 1


@pytest.mark.parametrize("written", range(10))
def test_a_crash_while_making_leaves_it_to_be_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, written: int
) -> None:
    """Whenever the power fails, the next start makes a whole network and sweeps the rest."""
    create, done = secret_files.create_secret, 0

    def until_the_power_fails(path: Path, content: str) -> None:
        nonlocal done
        if done == written:
            raise KeyboardInterrupt
        done += 1
        create(path, content)

    with monkeypatch.context() as patch:
        patch.setattr(authority_keys, "create_secret", until_the_power_fails)
        with pytest.raises(KeyboardInterrupt):
            Authority.open_or_create(tmp_path / "nats")
    assert Authority.open_or_create(tmp_path / "nats").operator.startswith("O")
    assert sorted(each.name for each in (tmp_path / "nats").iterdir()) == ["authority", "lock"]


# The nonce key stands last: of another network it is as good, so that case is left out.
FILES = [
    "operator.jwt",
    "system.jwt",
    "garage.jwt",
    "operator-signing.nk",
    "system-signing.nk",
    "garage-signing.nk",
    "nonce.key",
]


@pytest.mark.parametrize(
    ("name", "how"),
    [(name, how) for name in FILES for how in ("gone", "empty", "exposed", "another")][:-1],
)
def test_damage_is_named_and_nothing_made_anew(tmp_path: Path, name: str, how: str) -> None:
    """A network with other keys would lose all its nodes, so it is never made silently."""
    Authority.open_or_create(tmp_path / "nats")
    folder = tmp_path / "nats" / "authority"
    if how == "gone":
        (folder / name).unlink()
    elif how == "empty":
        (folder / name).write_text("")
    elif how == "exposed":
        (folder / name).chmod(0o644)
    else:
        Authority.open_or_create(tmp_path / "other")
        shutil.copy(tmp_path / "other" / "authority" / name, folder / name)
    with pytest.raises(AuthorityDamaged, match="authority"):
        Authority.open_or_create(tmp_path / "nats")


def test_the_roots_may_be_moved_off_line(tmp_path: Path) -> None:
    """Daily work, revocation included, needs none of the root seeds."""
    Authority.open_or_create(tmp_path / "nats")
    for name in ("operator.nk", "system.nk", "garage.nk"):
        (tmp_path / "nats" / "authority" / name).unlink()
    again = Authority.open_or_create(tmp_path / "nats")
    key = user()
    again.record_revocation(key)
    assert key in garage(again).revocations
    assert again.node_jwt(NODE, key, None)


def test_a_nodes_jwt_says_four_things_and_has_an_end_to_everything(
    authority: Authority,
) -> None:
    """Exactly the subjects of its own id, thirty days, finite limits, two kinds of connection."""
    key = user()
    claims = decode(authority.node_jwt(NODE, key, "SE-AB"), issuers=None)
    body = claims.nats
    assert isinstance(body, User)
    assert set(body.pub.allow) == {
        f"gai.v1.beat.SE-AB.{NODE}",
        f"gai.v1.reply.*.{NODE}.>",
        f"gai.v1.renew.{NODE}",
    }
    assert body.sub.allow == (f"gai.v1.node.{NODE}.>",)
    assert (claims.sub, claims.name, claims.iat, claims.exp) == (key, NODE, NOW, NOW + 30 * DAY)
    assert claims.jti
    assert claims.iss in garage(authority).signing_keys
    assert body.allowed_connection_types == ("STANDARD", "WEBSOCKET")
    assert 0 < body.subs <= 16
    assert 64 * 1024 < body.payload <= 256 * 1024
    assert body.data > 0


def test_without_a_region_the_beat_says_none(authority: Authority) -> None:
    """The region's token is `none`."""
    body = decode(authority.node_jwt(NODE, user(), None), issuers=None).nats
    assert isinstance(body, User)
    assert f"gai.v1.beat.none.{NODE}" in body.pub.allow


@pytest.mark.parametrize(
    ("node", "region"),
    [("*", None), ("a.b", None), (">", None), ("", None), ("n", "*"), ("n", "a.>")],
)
def test_no_wildcard_gets_into_a_jwt(authority: Authority, node: str, region: str | None) -> None:
    """An id or region that could widen a subject is refused."""
    with pytest.raises(BadNodeKey):
        authority.node_jwt(NodeId(node), user(), region)


@pytest.mark.parametrize("role", [Role.ACCOUNT, Role.OPERATOR])
def test_only_a_users_key_becomes_a_node(authority: Authority, role: Role) -> None:
    """Keys of other roles, and other text, are refused."""
    for key in (KeyPair.generate(role).public, "U", "U" * 56):
        with pytest.raises(BadNodeKey):
            authority.node_jwt(NODE, key, None)
        with pytest.raises(BadNodeKey):
            authority.record_revocation(key)


def test_a_gateway_hears_its_own_replies(authority: Authority) -> None:
    """And all beats and renewals; it speaks to nodes and to nobody else."""
    credentials = authority.gateway_credentials(GatewayId("gaaaaaaaaaa"))
    body = decode(credentials.jwt(), issuers=None).nats
    assert isinstance(body, User)
    assert body.pub.allow == ("gai.v1.node.>",)
    assert set(body.sub.allow) == {
        "gai.v1.reply.gaaaaaaaaaa.>",
        "gai.v1.beat.*.*",
        "gai.v1.renew.*",
    }
    assert credentials.pair.seed() not in repr(credentials)


def test_each_account_jwt_is_newer_than_the_last(authority: Authority, clock: Clock) -> None:
    """The servers keep the later one, in whole seconds, also when the clock goes back."""
    last = claims_of(authority).iat
    for moment in (NOW, NOW, NOW + 100, NOW - 1000):
        clock.now = moment
        authority.record_revocation(user())
        issued = claims_of(authority).iat
        assert issued > last
        last = issued
    assert len(garage(authority).revocations) == 4


def test_a_revocation_is_never_taken_back_by_an_older_one(authority: Authority) -> None:
    """The later time stays."""
    key = user()
    authority.record_revocation(key, NOW)
    authority.record_revocation(key, NOW - 500)
    assert garage(authority).revocations[key] == NOW
    assert is_revoked(authority, key, NOW)
    assert not is_revoked(authority, key, NOW + 1)
    assert not is_revoked(authority, user(), NOW)


def test_two_gateways_on_one_folder_lose_no_revocation(tmp_path: Path) -> None:
    """Each reads what the other wrote, under a lock."""
    both = [Authority.open_or_create(tmp_path / "nats") for _ in range(2)]
    keys = [user() for _ in range(12)]
    with ThreadPoolExecutor(6) as pool:
        list(pool.map(lambda n: both[n % 2].record_revocation(keys[n]), range(12)))
    assert set(garage(both[0]).revocations) == set(keys)


def copied(authority: Authority, tmp_path: Path, clock: Clock, name: str = "copy") -> Authority:
    """Open a copy of the network's keys, as a gateway on another machine has it."""
    shutil.copytree(tmp_path / "nats", tmp_path / name)
    return Authority.open_or_create(tmp_path / name, clock=clock)


def test_copies_of_a_folder_agree_through_what_the_servers_have(
    authority: Authority, tmp_path: Path, clock: Clock
) -> None:
    """What either wrote is in the next account, which is newer than both, and then in each."""
    other = copied(authority, tmp_path, clock)
    one, two, both = user(), user(), user()
    authority.record_revocation(one)
    authority.record_revocation(both, NOW - 20)
    other.record_revocation(two)
    other.record_revocation(both, NOW - 10)
    lacking = other.agree(authority.garage_jwt())
    assert lacking == other.garage_jwt()
    assert garage(other).revocations == {one: NOW, two: NOW, both: NOW - 10}
    assert claims_of(other).iat > claims_of(authority).iat
    assert authority.agree(lacking) is None
    assert garage(authority).revocations == garage(other).revocations


def test_servers_that_know_all_are_told_nothing(
    authority: Authority, tmp_path: Path, clock: Clock
) -> None:
    """Nor is anything written; who is behind takes it over."""
    behind = copied(authority, tmp_path, clock)
    key = user()
    authority.record_revocation(key, NOW - 5)
    known = authority.garage_jwt()
    assert authority.agree(known) is None
    assert authority.garage_jwt() == known
    assert not is_revoked(behind, key, NOW - 5)
    assert behind.agree(known) is None
    assert is_revoked(behind, key, NOW - 5)


def test_another_networks_account_is_not_taken_over(authority: Authority, tmp_path: Path) -> None:
    """Only what this network's operator signed says who is cut off."""
    stranger = Authority.open_or_create(tmp_path / "stranger")
    stranger.record_revocation(user())
    before = authority.garage_jwt()
    for told in (stranger.garage_jwt(), stranger.operator_jwt, authority.operator_jwt, "", "a.b.c"):
        with pytest.raises(ForeignAccount):
            authority.agree(told)
    system = dict(authority.account_jwts())[authority.system_account]
    with pytest.raises(ForeignAccount, match="another account"):
        authority.agree(system)
    assert authority.garage_jwt() == before


def test_revocations_end_with_the_jwts_they_void(authority: Authority, clock: Clock) -> None:
    """What no JWT can outlive is dropped, no sooner."""
    early, late = user(), user()
    authority.record_revocation(early)
    clock.now = NOW + LONGEST_LIFE - 1
    authority.record_revocation(user())
    assert early in garage(authority).revocations
    clock.now = NOW + LONGEST_LIFE
    authority.record_revocation(late)
    assert early not in garage(authority).revocations


def test_many_that_were_missed_stay_within_one_message(
    authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As where a database came back without its folder: one line cuts off the oldest of them."""
    monkeypatch.setattr("garage_ai.network.authority._REVOCATIONS_KEPT", 4)
    missed = {str(user()): NOW - 1000.0 - number for number in range(9)}
    assert authority.record_missing(missed) == 9
    assert len(garage(authority).revocations) <= 4
    assert all(is_revoked(authority, key, at) for key, at in missed.items())
    assert authority.record_missing(missed) == 0


def test_a_long_list_is_folded_and_still_fits_a_message(
    authority: Authority, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Beyond its bound the old entries become one for all; nobody cut off comes back."""
    monkeypatch.setattr("garage_ai.network.authority._REVOCATIONS_KEPT", 4)
    old = [user() for _ in range(4)]
    for key in old:
        authority.record_revocation(key)
    clock.now = NOW + 31 * DAY
    fresh = user()
    authority.record_revocation(fresh)
    revocations = garage(authority).revocations
    assert set(revocations) == {"*", fresh}
    assert all(is_revoked(authority, key, NOW) for key in old)
    assert not is_revoked(authority, user(), clock.now - 29 * DAY)


def test_the_longest_list_is_read_again_and_grows_no_longer(
    authority: Authority, tmp_path: Path, clock: Clock
) -> None:
    """With five thousand cut off within a month the keys open, and more can be cut off."""
    keys = cut_off(authority, 5_000, NOW)
    again = Authority.open_or_create(tmp_path / "nats", clock=clock)
    assert len(garage(again).revocations) == 5_000
    last = [user() for _ in range(3)]
    for key in last:
        clock.now += 1
        again.record_revocation(key)
    revocations = garage(again).revocations
    assert len(revocations) <= 5_001
    assert all(voids(revocations, key) >= NOW for key in (*keys, *last))
    assert not is_revoked(again, user(), NOW + 1)


def test_two_long_lists_are_one_that_is_no_longer(
    authority: Authority, tmp_path: Path, clock: Clock
) -> None:
    """Copies of a folder that were apart for long agree on what can still be told."""
    other = copied(authority, tmp_path, clock)
    keys = [*cut_off(authority, 4_900, NOW), *cut_off(other, 4_900, NOW - 9)]
    told = authority.agree(other.garage_jwt())
    assert told is not None
    assert other.agree(told) is None
    for each in (authority, other):
        revocations = garage(each).revocations
        assert len(revocations) <= 5_000
        assert all(voids(revocations, key) >= NOW - 9 for key in keys)


def voids(revocations: Mapping[str, int], key: str) -> int:
    """Tell until when a key's JWTs are void."""
    return max(revocations.get(key, 0), revocations.get("*", 0))


def test_the_longest_list_fits_one_message(authority: Authority) -> None:
    """An account with as many revocations as are kept stays under a server's 1 MiB."""
    claims = claims_of(authority)
    size = len(authority.garage_jwt())
    authority.record_revocation(user())
    entry = len(authority.garage_jwt()) - size
    assert claims.iat == NOW
    assert size + 5_000 * (entry + 2) < 1024 * 1024


def test_a_folder_held_too_long_is_told(
    authority: Authority, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It does not wait for ever for another process."""
    import fcntl

    monkeypatch.setattr("garage_ai.network.authority._LOCK_SECONDS", 0.05)
    with (tmp_path / "nats" / "lock").open() as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        with pytest.raises(AuthorityLocked):
            authority.record_revocation(user())


def test_gateways_of_one_folder_sign_the_log_with_one_key(tmp_path: Path) -> None:
    """Derived, so that old networks have it too; none of the keys that JWTs are signed with."""
    one, other = (Authority.open_or_create(tmp_path / "nats") for _ in range(2))
    assert one.audit_key.public == other.audit_key.public
    assert one.audit_key.public != one.operator
    stranger = Authority.open_or_create(tmp_path / "another")
    assert stranger.audit_key.public != one.audit_key.public

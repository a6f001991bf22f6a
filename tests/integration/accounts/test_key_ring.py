"""Keys: made, used, revoked, and known to every process."""

import asyncio
import stat
import time
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest
from sqlalchemy import select, text
from tests.databases import Server

from garage_ai.accounts import (
    OPERATOR,
    SCOPES,
    AdminKeyUnusable,
    IdempotencyConflict,
    InvalidField,
    InvalidKey,
    KeyId,
    KeyNotFound,
    KeyRing,
    MemberId,
    MemberNotFound,
    Members,
    MemberSuspended,
    RevokedKey,
)
from garage_ai.accounts.secrets import new_secret
from garage_ai.storage import DatabaseUnreachable, LastSeen, Storage, sqlite_url
from garage_ai.storage.tables import keys

pytestmark = pytest.mark.anyio

PATIENCE = 30.0


@pytest.fixture
async def ring(storage: Storage) -> AsyncIterator[KeyRing]:
    opened = await KeyRing.open(storage)
    yield opened
    await opened.close()


@pytest.fixture
async def elsewhere(database: str) -> AsyncIterator[KeyRing]:
    """The key ring of another process, as far as the database can tell."""
    storage = await Storage.open(database)
    opened = await KeyRing.open(storage)
    yield opened
    await opened.close()
    await storage.close()


async def accepted(ring: KeyRing, secret: str) -> None:
    async with asyncio.timeout(PATIENCE):
        while True:
            try:
                ring.authenticate(secret)
                return
            except InvalidKey:
                await asyncio.sleep(0.01)


async def refused(ring: KeyRing, secret: str) -> None:
    async with asyncio.timeout(PATIENCE):
        while True:
            try:
                ring.authenticate(secret)
            except RevokedKey:
                return
            await asyncio.sleep(0.01)


async def test_a_key_works_as_soon_as_it_is_made(ring: KeyRing) -> None:
    """Its secret leads to it, with its member and its scopes."""
    key, secret = await ring.create(" laptop ", scopes={"inference"}, region="SE-AB")
    assert secret is not None
    assert ring.authenticate(secret) == key
    assert (key.name, key.member, key.region) == ("laptop", OPERATOR, "SE-AB")
    assert key.scopes == {"inference"}
    assert await ring.list() == [key]


async def test_the_secret_is_kept_nowhere(ring: KeyRing, kept: Callable[[], bytes]) -> None:
    """Neither the database nor a printed key holds it."""
    key, secret = await ring.create("laptop")
    assert secret is not None
    body = secret.removeprefix("gai_")
    content = kept()
    assert key.id.encode() in content
    assert body.encode() not in content
    assert body not in repr(key)


async def test_a_revoked_key_is_refused_at_once(ring: KeyRing) -> None:
    """The first call after the revocation is refused; revoking again changes nothing."""
    key, secret = await ring.create("laptop")
    assert secret is not None
    revoked = await ring.revoke(key.id)
    with pytest.raises(RevokedKey):
        ring.authenticate(secret)
    assert revoked.revoked_at is not None
    assert await ring.revoke(key.id) == revoked


async def test_a_key_is_found_while_it_works(ring: KeyRing, storage: Storage) -> None:
    """What was left to be done goes on under it until it, or its member, may do nothing more."""
    anna = await Members(storage).add("Anna")
    key, _ = await ring.create("laptop", anna.id)
    other, _ = await ring.create("phone", anna.id)
    assert ring.find(key.id) == key
    with pytest.raises(InvalidKey):
        ring.find(KeyId("key_x"))
    await ring.revoke(key.id)
    with pytest.raises(RevokedKey):
        ring.find(key.id)
    await Members(storage).suspend(anna.id)
    await ring.refresh()
    with pytest.raises(MemberSuspended):
        ring.find(other.id)


async def test_only_what_concerns_keys_loads_them_anew(ring: KeyRing, storage: Storage) -> None:
    """Other acts, of which there are many, cost no more than a look; a suspension is heard of."""
    anna = await Members(storage).add("Anna")
    made = (await ring.create("laptop", anna.id)).key
    await ring.refresh()
    known = ring.find(made.id)
    await Members(storage).add("Bo")
    await ring.refresh()
    assert ring.find(made.id) is known
    await Members(storage).suspend(anna.id)
    await ring.refresh()
    with pytest.raises(MemberSuspended):
        ring.find(made.id)
    await Members(storage).resume(anna.id)
    await ring.refresh()
    assert ring.find(made.id) == known


async def test_a_revocation_survives_a_restart(ring: KeyRing, storage: Storage) -> None:
    """A new ring over the same database refuses it too."""
    key, secret = await ring.create("laptop")
    assert secret is not None
    await ring.revoke(key.id)
    again = await KeyRing.open(storage)
    with pytest.raises(RevokedKey):
        again.authenticate(secret)
    await again.close()


async def test_a_revocation_beats_a_look_under_way(ring: KeyRing) -> None:
    """Looks for changes all around a revocation never bring the key back."""
    key, secret = await ring.create("laptop")
    assert secret is not None
    for _ in range(5):
        looks = [asyncio.create_task(ring.refresh()) for _ in range(3)]
        await asyncio.gather(ring.create("other"), *looks)
    looks = [asyncio.create_task(ring.refresh()) for _ in range(5)]
    await ring.revoke(key.id)
    for _ in range(50):
        with pytest.raises(RevokedKey):
            ring.authenticate(secret)
        await asyncio.sleep(0)
    await asyncio.gather(*looks)
    with pytest.raises(RevokedKey):
        ring.authenticate(secret)


async def test_other_processes_hear_of_it(ring: KeyRing, elsewhere: KeyRing) -> None:
    """A key made here works there, and a revocation here is in force there within a second."""
    key, secret = await ring.create("laptop")
    assert secret is not None
    await accepted(elsewhere, secret)
    begun = time.monotonic()
    await ring.revoke(key.id)
    await refused(elsewhere, secret)
    assert time.monotonic() - begun < 5  # one second, and more for a busy machine


async def test_unknown_keys_cause_few_looks(
    ring: KeyRing, storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many well-formed unknown keys come, the database is asked a few times a second."""
    looks = 0
    real = ring.refresh

    async def counted() -> None:
        nonlocal looks
        looks += 1
        await real()

    monkeypatch.setattr(ring._watch, "_look", counted)
    ends = time.monotonic() + 0.7
    while time.monotonic() < ends:
        with pytest.raises(InvalidKey):
            ring.authenticate(new_secret("gai_"))
        await asyncio.sleep(0)
    assert 1 <= looks <= 5


async def test_an_unreadable_database_stops_nobody(
    ring: KeyRing, storage: Storage, database: str
) -> None:
    """Known keys work on while looks fail; the failures are counted, and looks go on after."""
    _, secret = await ring.create("laptop")
    assert secret is not None
    async with storage.write() as connection:
        await connection.execute(text("ALTER TABLE keys RENAME TO hidden"))
    async with asyncio.timeout(PATIENCE):
        while not ring.failures:  # noqa: ASYNC110 - counted by the ring's own task
            await asyncio.sleep(0.01)
    ring.authenticate(secret)
    async with storage.write() as connection:
        await connection.execute(text("ALTER TABLE hidden RENAME TO keys"))
    await ring.refresh()
    ring.authenticate(secret)


@pytest.mark.system
async def test_a_server_that_is_away_stops_nobody(killable: Server) -> None:
    """Keys work while PostgreSQL is down, and what others changed is known when it is back."""
    with killable.cluster.database(killable.template) as url:
        storage, other = await Storage.open(url), await Storage.open(url)
        ring, elsewhere = await KeyRing.open(storage), await KeyRing.open(other)
        _, secret = await ring.create("laptop")
        assert secret is not None
        killable.cluster.kill()
        async with asyncio.timeout(PATIENCE):
            while not ring.failures:  # noqa: ASYNC110 - counted by the ring's own task
                await asyncio.sleep(0.01)
        ring.authenticate(secret)
        with pytest.raises(DatabaseUnreachable):
            await ring.create("desktop")
        killable.cluster.start()
        _, later = await elsewhere.create("phone")
        assert later is not None
        await accepted(ring, later)
        for each in (ring, elsewhere, storage, other):
            await each.close()


async def test_the_same_call_makes_one_key(ring: KeyRing) -> None:
    """An idempotency key gives the same record again, but the secret only once."""
    calls = [ring.create("laptop", idempotency_key="call-1") for _ in range(5)]
    issued = await asyncio.gather(*calls)
    assert len({each.key for each in issued}) == 1
    assert sum(each.secret is not None for each in issued) == 1
    secret = next(each.secret for each in issued if each.secret)
    assert ring.authenticate(secret) == issued[0].key


async def test_one_idempotency_key_is_not_for_two_calls(ring: KeyRing, storage: Storage) -> None:
    """Another request with it is refused; another member may use the same word."""
    await ring.create("laptop", idempotency_key="call-1")
    with pytest.raises(IdempotencyConflict):
        await ring.create("desktop", idempotency_key="call-1")
    anna = await Members(storage).add("Anna")
    key, secret = await ring.create("desktop", anna.id, idempotency_key="call-1")
    assert (key.member, secret is not None) == (anna.id, True)


async def test_a_key_needs_a_member_a_name_and_a_scope(ring: KeyRing) -> None:
    """Nothing is made for nobody or for nothing."""
    with pytest.raises(MemberNotFound):
        await ring.create("laptop", MemberId("mbr_nobody"))
    with pytest.raises(InvalidField):
        await ring.create("")
    with pytest.raises(InvalidField):
        await ring.create("laptop", scopes=())
    with pytest.raises(KeyNotFound):
        await ring.revoke(KeyId("key_nothing"))
    assert await ring.list() == []


async def test_every_use_is_told(storage: Storage) -> None:
    """The time of a key's last use reaches the database soon."""
    seen = LastSeen.start(storage)
    ring = await KeyRing.open(storage, on_use=seen.key)
    _, secret = await ring.create("laptop")
    assert secret is not None
    before = datetime.now(UTC)
    ring.authenticate(secret)
    await ring.close()
    await seen.close()
    (found,) = await ring.list()
    assert found.last_used_at is not None
    assert before <= found.last_used_at <= datetime.now(UTC)


async def test_authentication_takes_microseconds(ring: KeyRing) -> None:
    """No SQL is in the way: the median of many is far below a request's other costs."""
    for number in range(20):
        await ring.create(f"key {number}")
    _, secret = await ring.create("laptop")
    assert secret is not None
    times = []
    for _ in range(2001):
        begun = time.perf_counter()
        ring.authenticate(secret)
        times.append(time.perf_counter() - begun)
    assert sorted(times)[1000] < 50e-6


async def test_the_admin_key_is_made_and_works(ring: KeyRing, tmp_path: Path) -> None:
    """The file appears with its mode, and its key has every scope."""
    path = tmp_path / "admin.key"
    secret = await ring.ensure_admin_key(path)
    key = ring.authenticate(secret)
    assert (key.member, key.scopes) == (OPERATOR, SCOPES)
    assert path.read_text().strip() == secret
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


async def test_the_admin_key_survives_a_restart(storage: Storage, tmp_path: Path) -> None:
    """The next start finds the same key, and registers it no second time."""
    secrets = []
    for _ in range(2):
        ring = await KeyRing.open(storage)
        secrets.append(await ring.ensure_admin_key(tmp_path / "admin.key"))
        assert len(await ring.list()) == 1
        await ring.close()
    assert secrets[0] == secrets[1]


async def test_a_new_database_learns_the_old_admin_key(tmp_path: Path) -> None:
    """When only the file is left, its key works again."""
    secrets = []
    for name in ("old.db", "new.db"):
        storage = await Storage.open(sqlite_url(tmp_path / name))
        ring = await KeyRing.open(storage)
        secrets.append(await ring.ensure_admin_key(tmp_path / "admin.key"))
        ring.authenticate(secrets[-1])
        await ring.close()
        await storage.close()
    assert secrets[0] == secrets[1]


async def test_a_revoked_admin_key_is_replaced(ring: KeyRing, tmp_path: Path) -> None:
    """Revoking it is how it is changed: the next start has a new one in the file."""
    path = tmp_path / "admin.key"
    old = await ring.ensure_admin_key(path)
    await ring.revoke(ring.authenticate(old).id)
    new = await ring.ensure_admin_key(path)
    assert path.read_text().strip() == new != old
    assert "admin" in ring.authenticate(new).scopes
    with pytest.raises(RevokedKey):
        ring.authenticate(old)


async def test_starts_at_once_share_one_admin_key(
    ring: KeyRing, elsewhere: KeyRing, tmp_path: Path
) -> None:
    """Two processes on one folder end with one key, registered once."""
    path = tmp_path / "admin.key"
    first, second = await asyncio.gather(
        ring.ensure_admin_key(path), elsewhere.ensure_admin_key(path)
    )
    assert first == second
    ring.authenticate(first)
    elsewhere.authenticate(first)
    assert len(await ring.list()) == 1


async def test_an_ordinary_key_in_the_file_is_refused(ring: KeyRing, tmp_path: Path) -> None:
    """A key that may not administer does not become one that may by being put there."""
    _, secret = await ring.create("laptop")
    assert secret is not None
    (tmp_path / "admin.key").write_text(secret)
    with pytest.raises(AdminKeyUnusable):
        await ring.ensure_admin_key(tmp_path / "admin.key")
    assert ring.authenticate(secret).scopes == {"inference"}


async def test_scopes_are_stored_readably(ring: KeyRing, storage: Storage) -> None:
    """Whoever looks into the table reads words."""
    await ring.create("laptop", scopes=["inference", "admin"])
    async with storage.read() as connection:
        assert await connection.scalar(select(keys.c.scopes)) == "admin inference"

"""What a key ring reads when it looks for changes: those keys that acts were about."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from datetime import UTC, datetime

import pytest
from sqlalchemy import update

from garage_ai.accounts import (
    Invites,
    KeyRing,
    LimitBook,
    LimitSettings,
    Members,
    MemberSuspended,
    RevokedKey,
)
from garage_ai.storage import Storage
from garage_ai.storage.tables import keys

pytestmark = pytest.mark.anyio


@pytest.fixture
async def rings(storage: Storage) -> AsyncIterator[tuple[KeyRing, KeyRing]]:
    """Give two rings over one database, as two gateways have them."""
    async with AsyncExitStack() as stack:
        opened = await KeyRing.open(storage), await KeyRing.open(storage)
        for each in opened:
            stack.push_async_callback(each.close)
        yield opened


async def test_nobody_else_is_read_anew(rings: tuple[KeyRing, KeyRing], storage: Storage) -> None:
    """Of thousands of keys those alone that were made, came by an invite, or do nothing more."""
    ring, elsewhere = rings
    bystander = (await ring.create("bystander")).key
    await ring.refresh()
    known = ring.find(bystander.id)
    made, secret = await elsewhere.create("made")
    other, _ = await elsewhere.create("other")
    invites = Invites(storage)
    joined = await invites.accept((await invites.create(name="Anna")).secret or "")
    await ring.refresh()
    assert ring.authenticate(secret or "") == made
    assert ring.authenticate(joined.secret or "") == joined.key
    await elsewhere.revoke(other.id)
    await Members(storage).suspend(joined.member.id)
    await ring.refresh()
    with pytest.raises(RevokedKey):
        ring.find(other.id)
    with pytest.raises(MemberSuspended):
        ring.find(joined.key.id)
    assert ring.find(known.id) is known


async def test_limits_are_known_before_a_key_works(
    rings: tuple[KeyRing, KeyRing], storage: Storage
) -> None:
    """A key made at another gateway is limited at its first request here, known or not before."""
    wanted = LimitSettings(rpm=0)
    old = (await rings[0].create("before", limits=wanted)).key
    at_start, later = LimitBook(storage), LimitBook(storage)
    await (await KeyRing.open(storage, limits=at_start.refresh)).close()
    assert at_start.of(old.id) == wanted
    ring = KeyRing(storage, limits=later.refresh)  # looks when it is told to, and at no other time
    await ring.refresh()
    new, secret = await rings[0].create("after", limits=wanted)
    assert later.of(new.id).is_empty
    await ring.refresh()
    assert ring.authenticate(secret or "") == new
    assert later.of(new.id) == wanted


async def test_what_no_act_tells_of_is_found_by_the_counts(
    rings: tuple[KeyRing, KeyRing], storage: Storage
) -> None:
    """A key that somebody revoked in the table itself works no longer."""
    key, _ = await rings[0].create("laptop")
    for ring in rings:
        await ring.refresh()
    async with storage.write() as connection:
        await connection.execute(update(keys).values(revoked_at=datetime.now(UTC)))
    for ring in rings:
        await ring.refresh()
        with pytest.raises(RevokedKey):
            ring.find(key.id)

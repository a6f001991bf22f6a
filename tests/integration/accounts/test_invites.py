"""Invites: a person comes by one, once, and owns what is made of it."""

import asyncio
from datetime import UTC, datetime, timedelta

import pytest

from garage_ai.accounts import (
    OPERATOR,
    IdempotencyConflict,
    InvalidField,
    InvalidInvite,
    InviteExpired,
    InviteId,
    InviteNotFound,
    InviteRevoked,
    Invites,
    InviteUsed,
    KeyRing,
    Members,
)
from garage_ai.accounts.secrets import new_secret as made_secret
from garage_ai.audit.service import AuditLog
from garage_ai.storage import Storage

pytestmark = pytest.mark.anyio


class Clock:
    """A clock that stands until it is moved."""

    now = datetime(2026, 11, 29, 12, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now


async def new_secret(invites: Invites, **options: object) -> str:
    secret = (await invites.create(**options)).secret  # type: ignore[arg-type]
    assert secret is not None
    return secret


async def test_a_person_comes_by_an_invite(storage: Storage) -> None:
    """Member and first key in one step; the key works and looks after what is the member's."""
    invites = Invites(storage)
    joined = await invites.accept(await new_secret(invites, name="Anna"))
    assert joined.member.name == "Anna"
    assert joined.key.scopes == {"inference", "member"}
    assert joined.secret is not None
    ring = await KeyRing.open(storage)
    assert ring.authenticate(joined.secret).member == joined.member.id
    await ring.close()
    (listed,) = await invites.list()
    assert (listed.used, listed.state(datetime.now(UTC))) == (1, "used")


async def test_who_has_no_invite_waits_for_no_turn(storage: Storage) -> None:
    """Nor takes one: anybody may ask, as often as he likes, and all that is written has turns."""
    invites = Invites(storage)
    async with storage.write(in_turn=True):
        for made_up in (made_secret("gaim_"), "gaim_nothing"):
            with pytest.raises(InvalidInvite):
                await invites.accept(made_up, "Anna")


async def test_of_many_at_once_as_many_come_as_may(storage: Storage) -> None:
    """The database counts, not the caller."""
    invites = Invites(storage)
    secret = await new_secret(invites, uses=3)
    callers = (invites.accept(secret, f"guest {n}") for n in range(8))
    told = await asyncio.gather(*callers, return_exceptions=True)
    assert sum(isinstance(each, InviteUsed) for each in told) == 5
    assert len(await Members(storage).list()) == 1 + 3


async def test_a_call_that_was_lost_makes_no_second_member(storage: Storage) -> None:
    """Asked again with the same idempotency key it is the same member, without the secret."""
    invites = Invites(storage)
    secret = await new_secret(invites, uses=5)
    first = await invites.accept(secret, "Anna", idempotency_key="a")
    again = await invites.accept(secret, "Anna", idempotency_key="a")
    assert (again.member, again.key.id, again.secret) == (first.member, first.key.id, None)
    other = await invites.accept(secret, "Bo", idempotency_key="b")
    assert other.member.id != first.member.id


async def test_an_invite_that_is_over_lets_nobody_in(storage: Storage) -> None:
    """Made up, of another kind, revoked or too old; a name is needed from one side."""
    clock = Clock()
    invites = Invites(storage, clock)
    for made_up in ("", "gaim_" + "x" * 38, "gaij_" + "x" * 38):
        with pytest.raises(InvalidInvite):
            await invites.accept(made_up, "Anna")
    made = await invites.create()
    assert made.secret is not None
    with pytest.raises(InvalidField):
        await invites.accept(made.secret)
    assert (await invites.list())[0].used == 0
    await invites.revoke(made.invite.id)
    with pytest.raises(InviteRevoked):
        await invites.accept(made.secret, "Anna")
    secret = await new_secret(invites, ttl=timedelta(hours=1))
    clock.now += timedelta(hours=1)
    with pytest.raises(InviteExpired):
        await invites.accept(secret, "Anna")
    with pytest.raises(InviteNotFound):
        await invites.revoke(InviteId("inv_nothing"))


async def test_whoever_is_suspended_lets_nobody_in(storage: Storage) -> None:
    """By no invite given before; once they may act again, so may it."""
    invites, members = Invites(storage), Members(storage)
    host = (await members.add("Anna")).id
    secret = await new_secret(invites, member=host)
    await members.suspend(host)
    with pytest.raises(InviteRevoked):
        await invites.accept(secret, "Bo")
    await members.resume(host)
    assert (await invites.accept(secret, "Bo")).member.name == "Bo"


async def test_the_same_wish_makes_one_invite(storage: Storage) -> None:
    """Another wish under the same idempotency key is refused, as are senseless ones."""
    invites = Invites(storage)
    first = await invites.create(uses=2, idempotency_key="a")
    again = await invites.create(uses=2, idempotency_key="a")
    assert (again.invite, again.secret) == (first.invite, None)
    with pytest.raises(IdempotencyConflict):
        await invites.create(uses=3, idempotency_key="a")
    for senseless in ({"uses": 0}, {"uses": 1001}, {"ttl": timedelta()}, {"name": " "}):
        with pytest.raises(InvalidField):
            await invites.create(**senseless)


async def test_the_log_names_who_invited_and_no_name(storage: Storage) -> None:
    """Ids alone, so that an erased member is in no entry by name."""
    invites = Invites(storage)
    joined = await invites.accept(await new_secret(invites, name="Anna Andersson"))
    made, accepted = await AuditLog(storage).following()
    assert (accepted.actor, accepted.actor_id) == ("invite", made.subject)
    assert (accepted.actor_member, accepted.subject) == (OPERATOR, joined.member.id)
    assert "Anna" not in repr((made, accepted))

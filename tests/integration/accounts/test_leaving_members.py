"""Members who are suspended, let in again, and erased."""

import asyncio
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import Table, insert, select
from tests.parts.batches import add_batch
from tests.parts.enrolling import enrolled
from tests.parts.locks import until_somebody_waits
from tests.unit.wire.test_benchmarks import BENCHMARK

from garage_ai.accounts import (
    OPERATOR,
    Benchmarks,
    EnrolmentTokens,
    ExternalModels,
    Invites,
    KeyRing,
    LastAdminKey,
    LimitBook,
    LimitSettings,
    MemberErased,
    MemberId,
    MemberNotFound,
    Members,
    MemberSuspended,
    Nodes,
    NotConfirmed,
    OperatorNeeded,
    RevokedKey,
    TokenRevoked,
)
from garage_ai.audit.models import Actor
from garage_ai.batch import Files, Folder
from garage_ai.ledger.proxied import Mappings, UnknownMember
from garage_ai.storage import KeyId, LastSeen, Storage
from garage_ai.storage.tables import batches, files, keys, metadata, nodes, usage
from garage_ai.wire.benchmarks import sign_benchmark
from garage_ai.wire.identity import NodeIdentity
from garage_ai.wire.ids import Digest
from garage_ai.wire.nkey import KeyPair, Role

pytestmark = pytest.mark.anyio


async def test_a_suspended_member_is_kept_out_of_every_gateway(storage: Storage) -> None:
    """All its keys, until it is resumed; nothing new is made for it meanwhile."""
    members = Members(storage)
    anna = await members.add("Anna")
    ring, other = await KeyRing.open(storage), await KeyRing.open(storage)
    key = await ring.create("one", anna.id)
    assert key.secret is not None
    await other.refresh()
    assert (await members.suspend(anna.id)).state == "suspended"
    for each in (ring, other):
        await each.refresh()
        with pytest.raises(MemberSuspended):
            each.authenticate(key.secret)
    with pytest.raises(MemberSuspended):
        await ring.create("two", anna.id)
    with pytest.raises(MemberSuspended):
        await EnrolmentTokens(storage).create(anna.id)
    assert (await members.resume(anna.id)).state == "active"
    for each in (ring, other):
        await each.refresh()
        assert each.authenticate(key.secret).member == anna.id
        await each.close()


async def test_one_who_goes_as_another_comes_is_noticed(storage: Storage) -> None:
    """Counts that are equal again hide nothing: the log of acts has grown."""
    members = Members(storage)
    anna, bo = await members.add("Anna"), await members.add("Bo")
    ring = await KeyRing.open(storage)
    keys = {each.id: (await ring.create("key", each.id)).secret or "" for each in (anna, bo)}
    await members.suspend(anna.id)
    await ring.refresh()
    await members.resume(anna.id)
    await members.suspend(bo.id)
    await ring.refresh()
    assert ring.authenticate(keys[anna.id]).member == anna.id
    with pytest.raises(MemberSuspended):
        ring.authenticate(keys[bo.id])
    await ring.close()


async def test_nodes_of_a_suspended_member_say_so(storage: Storage) -> None:
    """The network gives them no work."""
    members, nodes = Members(storage), Nodes(storage)
    anna = await members.add("Anna")
    node = await enrolled(storage, KeyPair.generate(Role.USER).public, member=anna.id)
    await members.suspend(anna.id)
    assert [(each.id, each.suspended) for each in await nodes.list()] == [(node.id, True)]


async def test_the_operator_stays(storage: Storage) -> None:
    """Neither suspended nor erased; and nobody is who never was."""
    members = Members(storage)
    for act in (members.suspend(OPERATOR), members.resume(OPERATOR), members.erase(OPERATOR, "")):
        with pytest.raises(OperatorNeeded):
            await act
    with pytest.raises(MemberNotFound):
        await members.suspend(MemberId("mbr_nobody"))


async def test_the_last_admin_key_does_not_lock_itself_out(storage: Storage) -> None:
    """It can be revoked when another one is there that works."""
    ring = await KeyRing.open(storage)
    anna = await Members(storage).add("Anna")
    first = (await ring.create("first", scopes=("admin",))).key
    hers = (await ring.create("hers", anna.id, ("admin",))).key
    await Members(storage).suspend(anna.id)
    by = Actor.key(first.id, OPERATOR)
    with pytest.raises(LastAdminKey):
        await ring.revoke(first.id, by=by)
    await Members(storage).resume(anna.id)
    assert (await ring.revoke(first.id, by=by)).revoked_at is not None
    with pytest.raises(LastAdminKey):
        await ring.revoke(hers.id, by=Actor.key(hers.id, anna.id))
    await ring.close()


async def test_nobody_revokes_the_last_admin_key(storage: Storage) -> None:
    """Not by another key of its member either, nor two keys each other."""
    ring = await KeyRing.open(storage)
    admin = (await ring.create("admin", scopes=("admin",))).key
    plain = (await ring.create("laptop", scopes=("inference", "member"))).key
    with pytest.raises(LastAdminKey):
        await ring.revoke(admin.id, of=OPERATOR, by=Actor.key(plain.id, OPERATOR))
    other = (await ring.create("other", scopes=("admin",))).key
    pair = ((admin, other), (other, admin))
    ends = await asyncio.gather(
        *(ring.revoke(one.id, by=Actor.key(by.id, OPERATOR)) for one, by in pair),
        return_exceptions=True,
    )
    assert sorted(isinstance(end, LastAdminKey) for end in ends) == [False, True]
    await ring.close()


async def test_the_last_admin_key_is_given_no_end(storage: Storage) -> None:
    """Nor its member; one that has ended is no other, and of two that end the later one stays."""
    ring, book = await KeyRing.open(storage), await LimitBook.open(storage)
    anna = await Members(storage).add("Anna")
    first = (await ring.create("first", scopes=("admin",))).key
    hers = (await ring.create("hers", anna.id, ("admin", "inference"))).key
    by, now = Actor.key(first.id, OPERATOR), datetime.now(UTC)
    past, soon, then, later = (now + timedelta(hours=hours) for hours in (-1, 1, 2, 3))
    await book.change_key(hers.id, {"expires_at": later}, by=by)
    with pytest.raises(LastAdminKey):
        await book.change_key(first.id, {"expires_at": later}, by=by)
    assert book.of(first.id).expires_at is None
    await book.change_key(first.id, {"expires_at": soon}, by=by)
    with pytest.raises(LastAdminKey):
        await book.change_member(anna.id, {"expires_at": then}, by=by)
    await book.change_key(first.id, {"expires_at": None}, by=by)
    await book.change_member(anna.id, {"expires_at": past}, by=by)
    with pytest.raises(LastAdminKey):
        await ring.revoke(first.id, by=by)
    await book.change_member(anna.id, {"expires_at": None}, by=by)
    await ring.revoke(first.id, by=by)
    with pytest.raises(LastAdminKey):
        await Members(storage).suspend(anna.id, by=Actor.key(hers.id, anna.id))
    await Members(storage).suspend(anna.id)  # at the gateway's own machine
    await book.close()
    await ring.close()


async def test_an_erased_member_is_in_no_table_by_name(storage: Storage, tmp_path: Path) -> None:
    """Names, places and measurements are gone from every table; ids and public keys stay."""
    invites = Invites(storage)
    secret = (await invites.create(name="Anna Andersson")).secret or ""
    anna = (await invites.accept(secret)).member
    ring, tokens, nodes = await KeyRing.open(storage), EnrolmentTokens(storage), Nodes(storage)
    key = await ring.create("Annas laptop", anna.id, region="SE-AB", idempotency_key="Anna-1")
    wide = LimitSettings(regions=frozenset({"SE-AB", "SE-C"}), models=frozenset({"Anna/own"}))
    await ring.create("two counties", anna.id, limits=wide)
    token = await tokens.create(anna.id, "SE-AB", idempotency_key="Anna-2")
    identity = NodeIdentity(KeyPair.generate(Role.USER))
    node = await enrolled(storage, identity.public_key, "Annas PC", anna.id, "SE-AB")
    signed = sign_benchmark(identity, node.id, "nonce", BENCHMARK)
    await Benchmarks(storage).record(signed, identity.public_key)
    digest = Digest("sha256:" + "1" * 64)
    await ExternalModels(storage).claim("Anna/own", anna.id, digest, in_catalogue=False)
    await add_batch(storage, "batch_1", 3, member=anna.id, idempotency_key="Anna-3")
    file = await Files(storage, Folder(tmp_path)).begin(anna.id, key.key.id, "Anna.jsonl")
    await ask_for(storage, anna.id, "Anna/typo", "model_not_found")
    await ask_for(storage, anna.id, "tiny", "no_node")
    assert await found(storage, "Anna", "SE-AB", "RTX 3090") >= {"usage", "limits", "keys"}

    members = Members(storage)
    with pytest.raises(NotConfirmed):
        await members.erase(anna.id, "Bo")
    erased = await members.erase(anna.id, " Anna Andersson ")
    assert (erased.id, erased.state) == (anna.id, "erased")
    assert await members.erase(anna.id, "anything") == erased
    left = await found(storage, "Anna", "SE-AB", "RTX 3090")
    assert left == {"audit"}  # the name that a model was served under, which was public
    async with storage.read() as connection:
        batch = (await connection.execute(select(batches))).one()
        doomed = (await connection.execute(select(files).where(files.c.id == file.id))).one()
        models = set(await connection.scalars(select(usage.c.model)))
    assert models == {"erased", "tiny"}
    assert (batch.status, batch.metadata) == ("cancelled", None)
    assert batch.due_at is not None
    assert (doomed.id, doomed.status) == (file.id, "deleting")
    await ring.refresh()
    with pytest.raises(RevokedKey):
        ring.authenticate(key.secret or "")
    with pytest.raises(TokenRevoked):
        await nodes.enrol(token.secret or "", KeyPair.generate(Role.USER).public, "PC")
    assert [each.id for each in await nodes.list(removed=True)] == [node.id]
    for act in (ring.create("new", anna.id), members.suspend(anna.id)):
        with pytest.raises(MemberErased):
            await act
    await ring.close()


async def test_nothing_new_is_kept_of_who_was_erased(storage: Storage) -> None:
    """Neither where its keys were to be used, nor what a proxy calls it."""
    members, book, mappings = Members(storage), LimitBook(storage), Mappings(storage)
    anna = await members.add("Anna")
    ring = await KeyRing.open(storage)
    key = (await ring.create("laptop", anna.id)).key
    await members.erase(anna.id, "Anna")
    for act in (
        book.change_member(anna.id, {"regions": frozenset({"SE-AB"})}),
        book.change_key(key.id, {"models": frozenset({"Anna/own"})}),
    ):
        with pytest.raises(MemberErased):
            await act
    with pytest.raises(UnknownMember):
        await mappings.put("user", "Anna@example.org", anna.id)
    assert await found(storage, "Anna", "SE-AB") == set()
    await ring.close()


async def ask_for(storage: Storage, member: MemberId, model: str, outcome: str) -> None:
    """Record a request that no node answered."""
    record = {"request_id": f"req_{outcome}", "at": datetime.now(UTC), "member_id": member}
    record |= {"key_id": "key_1", "route": "chat", "model": model, "outcome": outcome}
    record |= {"stream": False}
    figures = ("content_events", "bytes_out", "duration_s", "attempts")
    async with storage.write() as connection:
        await connection.execute(insert(usage).values(record | dict.fromkeys(figures, 0)))


async def found(storage: Storage, *words: str) -> set[str]:
    """Name the tables that hold one of the words anywhere."""
    holding = set()
    async with storage.read() as connection:
        for table in metadata.sorted_tables:
            rows = (await connection.execute(select(table))).all()
            if any(word in repr(rows) for word in words):
                holding.add(table.name)
    return holding


@pytest.mark.parametrize("table", [keys, nodes], ids=["keys", "nodes"])
async def test_an_erasure_and_last_moments_do_not_wait_for_each_other(
    storage: Storage, table: Table
) -> None:
    """Both change rows in the order of Python's alphabet, however they lie and the server sorts."""
    now, ids = datetime.now(UTC), ("x_b", "x_B")
    anna = await Members(storage).add("Anna")
    seen = LastSeen(storage)
    async with storage.write() as connection:
        for each in ids:
            values = {"id": each, "member_id": anna.id, "name": "x", "created_at": now}
            if table is keys:
                values |= {"digest": each.encode(), "scopes": "inference"}
                seen.key(KeyId(each), now)
            else:
                values |= {"public_key": each, "trust": "unverified"}
                seen.node(each, now)
            await connection.execute(insert(table).values(values))
    async with storage.write() as connection:
        await connection.execute(select(table.c.id).where(table.c.id == "x_B").with_for_update())
        writing = asyncio.create_task(seen._write())
        await until_somebody_waits(connection)
        erasing = asyncio.create_task(Members(storage).erase(anna.id, "Anna"))
        await until_somebody_waits(connection, 2)
    await writing
    assert (await erasing).erased_at is not None
    moment = keys.c.last_used_at if table is keys else nodes.c.last_seen_at
    async with storage.read() as connection:
        assert [*await connection.scalars(select(moment))] == [now, now]
